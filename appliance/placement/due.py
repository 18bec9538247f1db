"""Which engine should be measured now, and why; or why none. Pure.

An engine is measured when it is first ready on its node, again when its driver or version changed, and each
night. Never while somebody works at the node, while it answers, or while requests wait; at night only after
it has been idle for a while. What failed is tried again later, and later each time; what made way for
somebody, after some minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.clock import age_seconds
from appliance.engines.options import Kind
from appliance.hardware.profile import EngineName

NIGHT_HOURS = range(1, 5)
"""Local time."""
_NIGHTLY_AFTER_SECONDS = 20 * 3600.0
_IDLE_SECONDS = {"first": 20.0, "changed": 60.0, "nightly": 1800.0}
_RETRY_SECONDS = 600.0
_MOST_RETRY_SECONDS = 24 * 3600.0
_AGAIN_AFTER_MAKING_WAY_SECONDS = 300.0


class Occasion(StrEnum):
    """Why an engine is measured; the first comes first."""

    FIRST = "first"
    CHANGED = "changed"
    NIGHTLY = "nightly"


@dataclass(frozen=True)
class Engine:
    """An engine on a node as the rule sees it. Times are epoch seconds; None: never."""

    node: str
    model: str
    digest: str
    engine: EngineName
    device: str
    kind: Kind = Kind.TEXT
    ready: bool = True
    in_flight: int = 0
    waiting: int = 0
    """Requests in the pool's queue for its model."""
    somebody_works: bool = False
    last_asked_at: float | None = None
    """The last request to any engine of the node."""
    versions: str = ""
    measured_at: float | None = None
    measured_versions: str = ""
    failed_at: float | None = None
    failures: int = 0
    """In a row."""
    made_way_at: float | None = None


@dataclass(frozen=True)
class Due:
    engine: Engine
    occasion: Occasion


@dataclass(frozen=True)
class Decision:
    """The engine to measure now, if any; and for each other that is due, what keeps it."""

    due: Due | None
    kept: tuple[tuple[Engine, str], ...]


def due_now(engines: Sequence[Engine], at: float, local_hour: int) -> Decision:
    """One at a time: two benchmarks on one node would measure each other."""
    found: list[Due] = []
    kept: list[tuple[Engine, str]] = []
    for engine in sorted(engines, key=lambda each: (each.node, each.model)):
        occasion = _occasion(engine, at, local_hour)
        if occasion is None:
            continue
        why_not = _why_not_now(engine, occasion, at)
        if why_not:
            kept.append((engine, why_not))
        else:
            found.append(Due(engine, occasion))
    order = list(Occasion)
    best = min(found, key=lambda due: (order.index(due.occasion), due.engine.measured_at or 0), default=None)
    return Decision(best, tuple(kept))


def _occasion(engine: Engine, at: float, local_hour: int) -> Occasion | None:
    if engine.kind is not Kind.TEXT:
        return None
    if engine.measured_at is None:
        return Occasion.FIRST
    if engine.versions != engine.measured_versions:
        return Occasion.CHANGED
    if local_hour in NIGHT_HOURS and age_seconds(engine.measured_at, at) >= _NIGHTLY_AFTER_SECONDS:
        return Occasion.NIGHTLY
    return None


def _why_not_now(engine: Engine, occasion: Occasion, at: float) -> str:
    if not engine.ready:
        return "it is not ready"
    if engine.somebody_works:
        return "somebody works at the machine"
    if engine.in_flight or engine.waiting:
        return f"it is giving {engine.in_flight} answers, and {engine.waiting} requests wait"
    idle = at - engine.last_asked_at if engine.last_asked_at is not None else float("inf")
    if idle < _IDLE_SECONDS[occasion.value]:
        return f"the node was asked {idle:.0f} s ago"
    made_way = age_seconds(engine.made_way_at, at) if engine.made_way_at is not None else float("inf")
    if made_way < _AGAIN_AFTER_MAKING_WAY_SECONDS:
        return f"the last benchmark made way for somebody {made_way:.0f} s ago"
    if engine.failed_at is not None:
        wait = min(_RETRY_SECONDS * 2 ** max(0, engine.failures - 1), _MOST_RETRY_SECONDS)
        if age_seconds(engine.failed_at, at) < wait:
            return f"the last benchmark failed; it is tried again {wait / 60:.0f} minutes after it"
    return ""
