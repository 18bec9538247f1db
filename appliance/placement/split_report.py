"""What a page shows of split models: where the parts are and how they do, what could be split, what can't.

Reads what the core decided, what the workers last reported of their parts, and how the heads' processes are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError
from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.spec import read_specs
from appliance.engines.tending import EngineState, read_engine_states
from appliance.enrolment.contract import PartReport
from appliance.placement.fleet import Heard, heard
from appliance.placement.sharding import PlannedPart
from appliance.placement.splits import Split, Unsplit, read_splits
from appliance.settings import Settings

_LOST = re.compile(r"The part on \S+ is lost: .*")


class PartState(StrEnum):
    READY = "ready"
    STARTING = "starting"
    SILENT = "silent"
    """Its worker is not heard."""


class HeadState(StrEnum):
    WAITING = "waiting"
    """For its parts."""
    RUNNING = "running"
    ENDED = "ended"
    """It is started again."""


@dataclass(frozen=True)
class SeenPart:
    part: PlannedPart
    state: PartState
    trouble: str
    """Why it is not ready, where it ended."""


@dataclass(frozen=True)
class SeenSplit:
    """`said` are the last words of a head that ended."""

    split: Split
    head: HeadState
    said: str
    parts: tuple[SeenPart, ...]


@dataclass(frozen=True)
class SeenSplits:
    splits: tuple[SeenSplit, ...]
    unsplit: Mapping[str, Unsplit]
    """By model."""


def seen_splits(settings: Settings, cellule: Database, activity: Database) -> SeenSplits:
    """As it is now."""
    decided = read_splits(cellule)
    reports = heard(activity, now()) if decided.splits else {}
    specs, _ = read_specs(settings.split_specs_dir)
    heads = {state.name: state for state in read_engine_states(settings).engines}
    return SeenSplits(
        tuple(
            _seen(split, reports, heads.get(split.model) if split.model in specs else None)
            for split in decided.splits
        ),
        {each.model: each for each in decided.unsplit},
    )


def _seen(split: Split, reports: Mapping[str, Heard], head: EngineState | None) -> SeenSplit:
    state = HeadState.WAITING if head is None else HeadState.RUNNING if head.is_running else HeadState.ENDED
    parts = tuple(_seen_part(part, reports.get(part.node)) for part in split.plan.parts)
    said = head.said if head and not head.is_running else ""
    return SeenSplit(split, state, in_short(said), parts)


def in_short(said: str) -> str:
    """A lost part alone, where the process's last line names one; a log's line begins with time and level."""
    lost = _LOST.search(said)
    return lost[0] if lost else said


def _seen_part(part: PlannedPart, said: Heard | None) -> SeenPart:
    if said is None or said.is_silent:
        return SeenPart(part, PartState.SILENT, "")
    try:
        report = PartReport.model_validate(said.report["part"])
    except (KeyError, ValidationError):
        return SeenPart(part, PartState.STARTING, "")
    if report.ready and report.memory_bytes == part.memory_bytes:
        return SeenPart(part, PartState.READY, "")
    return SeenPart(part, PartState.STARTING, report.trouble)
