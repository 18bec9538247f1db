"""Would any node have room for this model? Told before a download begins, with the arithmetic.

Before a file is here its cache isn't known, so the weights alone are compared: too large is then sure. An
admin who waits for a larger machine may say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import psutil
from sqlite_utils import Database

from appliance.enrolment.contract import WorkerFacts
from appliance.errors import Refused
from appliance.hardware import gather, profile_folders, read_profiles, recognise
from appliance.models.memory import told_bytes
from appliance.settings import BOX_NODE, Settings

_SHARE_OF_A_PC = 0.5
"""Of an employee's memory a model may take; the rest is the employee's."""


class LargerThanMemory(Refused):
    """No node could load the model."""

    code = "model_larger_than_memory"


@dataclass(frozen=True)
class Room:
    """What a model with its cache may take on a node."""

    node: str
    room_bytes: int


def refuse_too_large(weights_bytes: int, rooms: Sequence[Room]) -> None:
    """Raises LargerThanMemory; nothing where no node's memory is known. Pure."""
    largest = max(rooms, key=lambda room: room.room_bytes, default=None)
    if largest is None or weights_bytes <= largest.room_bytes:
        return
    raise LargerThanMemory(
        f"The model's weights alone are {told_bytes(weights_bytes)}. The most that a node has for a model is "
        f"{told_bytes(largest.room_bytes)} ({largest.node}): "
        f"{told_bytes(weights_bytes - largest.room_bytes)} are missing.",
        next_step="Choose a smaller model or quantisation, or get it all the same for a node to come.",
    )


def node_rooms(settings: Settings, db: Database) -> list[Room]:
    """Of the box, and of each PC that takes part."""
    rows = db.execute("SELECT name, facts FROM workers WHERE state = 'approved'")
    return [Room(BOX_NODE, _own_room(settings)), *_worker_rooms(rows)]


def _worker_rooms(rows: Iterable[tuple[str, str]]) -> list[Room]:
    told = [(name, WorkerFacts.model_validate_json(facts)) for name, facts in rows]
    return [
        Room(name, int(facts.memory_bytes * _SHARE_OF_A_PC)) for name, facts in told if facts.memory_bytes
    ]


@cache
def _own_room(settings: Settings) -> int:
    """As the hwprofile of this machine says; hardware doesn't change while it runs."""
    profiles, _ = read_profiles(profile_folders(settings))
    choice = recognise(gather(), profiles).choice
    return choice.model_bytes if choice and choice.model_bytes else psutil.virtual_memory().total // 2
