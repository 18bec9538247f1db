"""Would any node have room for this model? Told before a download begins, with the arithmetic.

Before a file is here its cache isn't known, so the weights alone are compared: too large is then sure. An
admin who waits for a larger machine may say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import psutil
from sqlite_utils import Database

from appliance.enrolment.contract import WorkerFacts
from appliance.errors import Refused
from appliance.hardware import HardwareReport, known_hardware, own_hardware, profile_folders
from appliance.models.conversion_source import Weights, conversion_disk_bytes, converted_bytes
from appliance.models.memory import told_bytes
from appliance.models.reading import must_convert
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity

_SHARE = 0.5
"""Of an employee's memory a model may take; the rest is the employee's."""


class LargerThanMemory(Refused):
    """No node could load the model."""

    code = "model_larger_than_memory"


@dataclass(frozen=True)
class Room:
    """What a model with its cache may take on a node."""

    node: str
    room_bytes: int


@dataclass(frozen=True)
class Taken:
    """`model_bytes` of memory, and of the disk for good; `disk_bytes` of the disk at its widest, as it comes.

    `weights`: how a model that must be converted first will keep them.
    """

    model_bytes: int
    disk_bytes: int
    weights: Weights | None = None


def taken_by(sizes: Mapping[str, int], weights: Weights, parameters: int | None = None) -> Taken:
    """By a model whose files are so large, by path; `parameters` of one to convert, as its files say. Pure.

    Where they are not here yet, safetensors are taken for 16-bit floats, as nearly all of them are.
    """
    size_bytes = sum(sizes.values())
    if not must_convert(sizes):
        return Taken(size_bytes, size_bytes)
    if parameters is None:
        parameters = sum(size for path, size in sizes.items() if path.endswith(".safetensors")) // 2
    disk_bytes = size_bytes + conversion_disk_bytes(parameters, weights)
    return Taken(converted_bytes(parameters, weights), disk_bytes, weights)


def refuse_too_large(weights_bytes: int, rooms: Sequence[Room], converted_to: Weights | None = None) -> None:
    """Raises LargerThanMemory; nothing where no node's memory is known. Pure."""
    largest = max(rooms, key=lambda room: room.room_bytes, default=None)
    if largest is None or weights_bytes <= largest.room_bytes:
        return
    if converted_to:
        raise LargerThanMemory(
            f"Converted to {converted_to.value}, the model's weights alone are about "
            f"{told_bytes(weights_bytes)}. The most that a node has for a model is "
            f"{told_bytes(largest.room_bytes)} ({largest.node}).",
            next_step="Choose a smaller model or fewer bits, or get it all the same for a node to come.",
        )
    raise LargerThanMemory(
        f"The model's weights alone are {told_bytes(weights_bytes)}. The most that a node has for a model is "
        f"{told_bytes(largest.room_bytes)} ({largest.node}): "
        f"{told_bytes(weights_bytes - largest.room_bytes)} are missing.",
        next_step="Choose a smaller model or quantisation, or get it all the same for a node to come.",
    )


def node_rooms(settings: Settings, db: Database) -> list[Room]:
    """Of the box, and of each PC that takes part: as its hwprofile says, else half of the memory it told."""
    with open_activity(settings.state_dir) as activity:
        reports = known_hardware(activity, profile_folders(settings))
    recognised = {node: _room_of(report) for node, report in reports.items()}
    rows = db.execute("SELECT id, name, facts FROM workers WHERE state = 'approved'")
    workers = [
        Room(name, recognised.get(node) or int(WorkerFacts.model_validate_json(facts).memory_bytes * _SHARE))
        for node, name, facts in rows
    ]
    box = Room(BOX_NODE, recognised.get(BOX_NODE) or _own_room(settings))
    return [box, *(room for room in workers if room.room_bytes)]


@cache
def _own_room(settings: Settings) -> int:
    """Before the core has recorded the box's hardware, which doesn't change while it runs."""
    return _room_of(own_hardware(profile_folders(settings))) or psutil.virtual_memory().total // 2


def _room_of(report: HardwareReport) -> int:
    """Of all cards of its kind together: an engine may split a model between them. 0: not told."""
    return (report.chosen.model_bytes or 0) * report.chosen.count if report.chosen else 0
