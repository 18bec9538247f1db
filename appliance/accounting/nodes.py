"""The nodes as the overview shows them, from their own last reports; and the pool's queue.

A report older than SILENT_AFTER_SECONDS says nothing about now: its node is silent, whatever it said then.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from appliance.settings import BOX_NODE, SILENT_AFTER_SECONDS

POOL = "pool"


class NodeState(StrEnum):
    """What a node can do now."""

    READY = "ready"
    STARTING = "starting"
    """It reports, but none of its engines answers yet."""
    SILENT = "silent"
    """It has reported before, not now."""
    NEVER_SEEN = "never_seen"


@dataclass(frozen=True)
class EngineEnded:
    """How a worker's engine last ended by itself; `said` is a sentence with the process's last words."""

    at: float
    said: str
    restarts: int
    is_running: bool


@dataclass(frozen=True)
class EngineOverview:
    """One engine of a node. `tokens_per_second` is what it measured itself."""

    model: str
    ready: bool
    demo: bool
    slots: int
    busy: int
    waiting: int
    tokens_per_second: float
    context_tokens: int = 0
    """Of one answer."""
    trouble: str = ""
    """Why it is not ready, a sentence."""
    device_names: tuple[str, ...] = ()
    """Of the devices beside the processor that compute, where the engine tells them."""
    ended: EngineEnded | None = None
    """None where it has not ended by itself."""


@dataclass(frozen=True)
class NodeOverview:
    """One node. `id` is "box" or a worker's id; the age is None when it never reported."""

    id: str
    name: str
    state: NodeState
    report_age_seconds: float | None
    engines: tuple[EngineOverview, ...]
    cpu_percent: float | None
    user_active: bool
    requests_last_hour: int
    tokens_last_hour: int

    @property
    def demo(self) -> bool:
        """Whether the demo model answers here."""
        return self.state is NodeState.READY and any(engine.demo and engine.ready for engine in self.engines)


@dataclass(frozen=True)
class PoolOverview:
    """The queue as the pool last reported it; `reporting` is False when the pool is silent."""

    reporting: bool
    queue_length: int = 0
    max_queue: int = 0
    in_flight: Mapping[str, int] = field(default_factory=dict)


def node_overviews(activity: Database, worker_names: Mapping[str, str], now: float) -> list[NodeOverview]:
    """The box, then the workers of `worker_names` (worker id → name) by name, as of `now` (epoch seconds)."""
    reports = {
        row[0]: (row[1], row[2]) for row in activity.execute("SELECT node, at, report FROM node_reports")
    }
    work = _work_of_last_hour(activity, now)
    box = json.loads(reports[BOX_NODE][1]).get("name", BOX_NODE) if BOX_NODE in reports else BOX_NODE
    names = [(BOX_NODE, str(box)), *sorted(worker_names.items(), key=lambda item: item[1].casefold())]
    return [_overview(node, name, reports.get(node), work, now) for node, name in names]


def pool_overview(activity: Database, now: float) -> PoolOverview:
    """The pool's own report."""
    row = activity.execute("SELECT at, report FROM node_reports WHERE node = ?", [POOL]).fetchone()
    if row is None or now - row[0] > SILENT_AFTER_SECONDS:
        return PoolOverview(reporting=False)
    report = json.loads(row[1])
    return PoolOverview(True, report["queue_length"], report["max_queue"], report["in_flight"])


def _overview(
    node: str,
    name: str,
    stored: tuple[float, str] | None,
    work: Mapping[str, tuple[int, int]],
    now: float,
) -> NodeOverview:
    report: dict[str, Any] = json.loads(stored[1]) if stored else {}
    age = max(0.0, now - stored[0]) if stored else None
    engines = tuple(_engine(engine) for engine in report.get("engines", ()))
    requests, tokens = work.get(node, (0, 0))
    load = report.get("load") or {}
    return NodeOverview(
        id=node,
        name=name,
        state=_state(age, engines),
        report_age_seconds=age,
        engines=engines,
        cpu_percent=load.get("cpu_percent"),
        user_active=bool(load.get("user_active")),
        requests_last_hour=requests,
        tokens_last_hour=tokens,
    )


def _state(age: float | None, engines: tuple[EngineOverview, ...]) -> NodeState:
    if age is None:
        return NodeState.NEVER_SEEN
    if age > SILENT_AFTER_SECONDS:
        return NodeState.SILENT
    return NodeState.READY if any(engine.ready for engine in engines) else NodeState.STARTING


def _engine(report: dict[str, Any]) -> EngineOverview:
    return EngineOverview(
        model=str(report.get("model", "")),
        ready=bool(report.get("ready")),
        demo=bool(report.get("demo")),
        slots=int(report.get("slots", 0)),
        busy=int(report.get("busy", 0)),
        waiting=int(report.get("waiting", 0)),
        tokens_per_second=float(report.get("tokens_per_second", 0.0)),
        context_tokens=int(report.get("context_tokens", 0)),
        trouble=str(report.get("trouble", "")),
        device_names=tuple(map(str, report.get("device_names", ()))),
        ended=_ended(report.get("ending")),
    )


def _ended(report: dict[str, Any] | None) -> EngineEnded | None:
    if not report:
        return None
    return EngineEnded(
        at=float(report.get("at", 0.0)),
        said=str(report.get("said", "")),
        restarts=int(report.get("restarts", 0)),
        is_running=bool(report.get("is_running")),
    )


def _work_of_last_hour(activity: Database, now: float) -> dict[str, tuple[int, int]]:
    rows = activity.execute(
        "SELECT node, COUNT(*), SUM(tokens_out) FROM ledger WHERE at > ? AND node IS NOT NULL GROUP BY node",
        [now - 3600],
    )
    return {row[0]: (row[1], row[2]) for row in rows}
