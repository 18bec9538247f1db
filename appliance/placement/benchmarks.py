"""The job that measures engines: looks whether one is due, measures it, keeps what came of it.

Called by the core every minute. One engine at a time; whoever comes to work ends the benchmark, which is
repeated when the node is idle again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlite_utils import Database

from appliance import VERSION
from appliance.clock import now
from appliance.engines.options import Kind
from appliance.hardware import MachineFacts, known_machines
from appliance.placement.contract import Measured, ModelNeed, NodeFacts, Running
from appliance.placement.current import predicted_alone
from appliance.placement.due import Due, Engine, due_now
from appliance.placement.fleet import Heard, heard, running_engines, waiting_requests
from appliance.placement.measuring import (
    LIMIT_SECONDS,
    EngineAddress,
    EngineSpeed,
    MadeWay,
    NotMeasured,
    measure_engine,
)
from appliance.placement.store import last_failures, read_measures, record_measure
from appliance.settings import BOX_NODE, WORKER_ENGINE_PORT, Settings

_MOST_AT_ONCE = 8
"""More at once would hold a slow machine for minutes."""
_ASKED_WITHIN_SECONDS = 86400.0
"""Longer ago is idle long enough for any benchmark."""
_Key = tuple[str, str, str, str]
"""Node, digest, engine, device."""
_MADE_WAY_AT: dict[_Key, float] = {}
"""Epoch seconds, by node, digest, engine and device: that others have their turn meanwhile."""


def measure_what_is_due(
    settings: Settings,
    cellule: Database,
    activity: Database,
    nodes: Sequence[NodeFacts],
    models: Sequence[ModelNeed],
    *,
    limit_seconds: float = LIMIT_SECONDS,
) -> str:
    """Measures at most one engine; what it did as a sentence, "" for nothing."""
    at = now()
    reports = heard(activity, at)
    running = running_engines(activity, reports, models, at)
    _, waiting = waiting_requests(activity, at)
    kept = _Kept.read(activity, at)
    engines = [_engine(each, reports[each.node], kept, waiting) for each in running]
    due = due_now(engines, at, datetime.fromtimestamp(at).astimezone().hour).due
    if due is None:
        return ""
    now_running = next(
        each for each in running if (each.node, each.model) == (due.engine.node, due.engine.model)
    )
    address = _address(settings, cellule, now_running, reports[now_running.node])
    at_once = min(now_running.slots, _MOST_AT_ONCE)
    try:
        speed = measure_engine(
            address,
            now_running.model,
            at_once,
            limit_seconds=limit_seconds,
            disturbed=lambda: _disturbed(activity, now_running.node, at),
        )
    except MadeWay as refusal:
        _MADE_WAY_AT[_key(now_running)] = now()
        return f"{now_running.model} on {now_running.node}: {refusal.sentence}"
    except NotMeasured as refusal:
        record_measure(activity, _measured(due, now_running, nodes, models, None), refusal.sentence)
        return f"{now_running.model} on {now_running.node}: {refusal.sentence}"
    record_measure(activity, _measured(due, now_running, nodes, models, speed))
    return (
        f"measured {now_running.model} on {now_running.node} ({due.occasion.value}): {speed.prompt:.0f} "
        f"tokens/s of prompt, {speed.alone:.1f} alone, {speed.together:.1f} with {speed.at_once} at once"
    )


def _key(running: Running) -> _Key:
    return running.node, running.digest, running.engine.value, running.device


@dataclass(frozen=True)
class _Kept:
    """What is read once for all engines: a fleet has hundreds."""

    measured: Mapping[_Key, Measured]
    """The last one that succeeded."""
    failures: Mapping[_Key, tuple[float, int]]
    last_asked: Mapping[str, float]
    """By node, of the last day."""
    machines: Mapping[str, MachineFacts]

    @classmethod
    def read(cls, activity: Database, at: float) -> Self:
        asked = activity.execute(
            "SELECT node, MAX(at + duration_seconds) FROM ledger"
            " WHERE at > ? AND at <= ? AND node IS NOT NULL GROUP BY node",
            [at - _ASKED_WITHIN_SECONDS, at],
        )
        return cls(
            {(m.node, m.digest, m.engine.value, m.device): m for m in read_measures(activity)},
            last_failures(activity),
            dict(asked.fetchall()),
            known_machines(activity),
        )


def _engine(running: Running, said: Heard, kept: _Kept, waiting: Mapping[str, int]) -> Engine:
    key = _key(running)
    measured = kept.measured.get(key)
    failed_at, failures = kept.failures.get(key, (None, 0))
    report = said.report
    return Engine(
        running.node, running.model, running.digest, running.engine, running.device,
        kind=Kind(_said(report, running.model).get("kind") or Kind.TEXT),
        ready=running.ready, in_flight=running.in_flight, waiting=waiting.get(running.model, 0),
        somebody_works=bool((report.get("load") or {}).get("user_active")),
        last_asked_at=kept.last_asked.get(running.node),
        versions=_versions(report, kept.machines.get(running.node)),
        measured_at=measured.at if measured else None,
        measured_versions=measured.versions if measured else "",
        failed_at=failed_at, failures=failures, made_way_at=_MADE_WAY_AT.get(key),
    )  # fmt: skip


def _said(report: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """What a node's report says of its engine for `model`."""
    engines: Sequence[Mapping[str, Any]] = report.get("engines", ())
    return next((each for each in engines if each.get("model") == model), {})


def _versions(report: Mapping[str, Any], facts: MachineFacts | None) -> str:
    """What may change an engine's speed: the agent with its engines, kernel, drivers, libraries."""
    facts = facts or MachineFacts()
    drivers = sorted({device.driver_version for device in facts.devices} - {""})
    runtimes = [f"{name} {version}" for name, version in sorted(facts.runtimes.items())]
    parts = [str(report.get("agent_version") or VERSION), facts.kernel, *drivers, *runtimes]
    return "; ".join(part for part in parts if part)


def _disturbed(activity: Database, node: str, since: float) -> str:
    """Why a benchmark must end: the pool sent the node a request, or somebody came to the machine.

    The pool tells what it is sending now; the ledger has what ended meanwhile.
    """
    rows = activity.execute("SELECT node, report FROM node_reports WHERE node IN (?, 'pool')", [node])
    said = {name: json.loads(report) for name, report in rows}
    if (said.get(node, {}).get("load") or {}).get("user_active"):
        return "somebody works at the machine"
    ended = activity.execute(
        "SELECT COUNT(*) FROM ledger WHERE node = ? AND at > ?", [node, since]
    ).fetchone()[0]
    is_asked = ended or said.get("pool", {}).get("in_flight", {}).get(node)
    return "a request came to the node" if is_asked else ""


def _address(settings: Settings, cellule: Database, running: Running, said: Heard) -> EngineAddress:
    if running.node == BOX_NODE:
        return EngineAddress(socket_path=settings.engine_socket(running.model))
    row = cellule.execute("SELECT tunnel_address FROM workers WHERE id = ?", [running.node]).fetchone()
    port = _said(said.report, running.model).get("port")
    return EngineAddress(host=row[0], port=int(port or WORKER_ENGINE_PORT))


def _measured(
    due: Due,
    running: Running,
    nodes: Sequence[NodeFacts],
    models: Sequence[ModelNeed],
    speed: EngineSpeed | None,
) -> Measured:
    node = next((each for each in nodes if each.id == running.node), None)
    model = next((each for each in models if each.name == running.model), None)
    ways = (
        [way for way in node.ways if (way.engine, way.device) == (running.engine, running.device)]
        if node
        else []
    )
    predicted = 0.0
    # the demo's weights lie in the processor's caches: its speed says nothing of larger models
    if node and model and not model.is_demo:
        predicted = predicted_alone(node, model, running.digest, running.engine.value, running.device)
    return Measured(
        running.node, running.model, running.digest, running.engine, running.device,
        ways[0].profile if ways else "",
        prompt=speed.prompt if speed else 0.0, alone=speed.alone if speed else 0.0,
        together=speed.together if speed else 0.0, at_once=speed.at_once if speed else 1, at=now(),
        predicted_alone=predicted, versions=due.engine.versions,
    )  # fmt: skip
