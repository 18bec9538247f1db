"""The fleet as the databases know it: nodes, what runs, what was asked for. Reads only.

Which models there are is the caller's to say: a list of ModelNeed. What a worker's machine can do is
recognised from the record that it sent; a worker that sent none is taken for a processor of its cores and
memory.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from appliance.clock import age_seconds
from appliance.engines.options import Kind
from appliance.enrolment import Worker, WorkerState, adopted_engines, list_workers
from appliance.hardware import MachineFacts, Processor, Profile, recognise
from appliance.hardware.profile import EngineName
from appliance.placement.contract import Demand, ModelNeed, NodeFacts, Running, Way
from appliance.placement.memory import as_loaded, room_taken
from appliance.placement.ways import ways_of
from appliance.settings import BOX_NODE, SILENT_AFTER_SECONDS, WORKER_ENGINE_PORTS

DEMAND_HOURS = 24
ASKED_WITHIN_SECONDS = 2 * 3600.0
"""What was not asked for so long is idle, and how long exactly is all the same."""
ABSENT_AFTER_SECONDS = 600.0
"""A node that is silent for less is still planned with: it restarts, or sleeps for a while."""
_COMES_BACK_WITHIN_SECONDS = 30.0
"""Of a client that was told to come again in ten."""
_HALF_LIFE_HOURS = 6.0
"""What was asked so long ago counts half."""


@dataclass(frozen=True)
class Heard:
    """A node's last report, as stored; its age in seconds. Older than `patience_seconds` it says nothing."""

    report: Mapping[str, Any]
    age_seconds: float
    patience_seconds: float = SILENT_AFTER_SECONDS

    @property
    def is_silent(self) -> bool:
        return self.age_seconds > self.patience_seconds


def heard(activity: Database, at: float, patience_seconds: float = SILENT_AFTER_SECONDS) -> dict[str, Heard]:
    """By node id; the pool's own report is not a node's."""
    rows = activity.execute("SELECT node, at, report FROM node_reports WHERE node != 'pool'")
    return {
        node: Heard(json.loads(report), age_seconds(said_at, at), patience_seconds)
        for node, said_at, report in rows
    }


def fleet_nodes(
    cellule: Database,
    reports: Mapping[str, Heard],
    profiles: Mapping[str, Profile],
    machines: Mapping[str, MachineFacts],
) -> tuple[NodeFacts, ...]:
    """The box, and the approved workers that report: a silent one can't be told anything now.

    `machines` are the records of the nodes; without the box's it has no way to compute.
    """
    box = machines.get(BOX_NODE, MachineFacts())
    found = [NodeFacts(BOX_NODE, BOX_NODE, _ways(BOX_NODE, box, profiles), is_box=True)]
    for worker in list_workers(cellule):
        said = reports.get(worker.id)
        if worker.state is WorkerState.APPROVED and said is not None and not said.is_silent:
            facts = machines.get(worker.id) or told_at_enrolment(worker)
            ways = _ways(worker.id, facts, profiles)
            ports = len(WORKER_ENGINE_PORTS) - 1 - len(adopted_engines(cellule, worker.id))
            found.append(NodeFacts(worker.id, worker.name, ways, most_engines=max(0, ports)))
    return tuple(found)


def told_at_enrolment(worker: Worker) -> MachineFacts:
    """What stands in for the record of a machine that has not sent it yet."""
    told = worker.facts
    return MachineFacts(
        processor=Processor(name=told.cpu, cores=told.cores),
        memory_bytes=told.memory_bytes,
        engines=frozenset({"llama.cpp/cpu"}),
    )


_RECOGNISED: dict[str, tuple[MachineFacts, Mapping[str, Profile], tuple[Way, ...]]] = {}
"""By node: asked every two seconds, and a machine hardly ever changes."""


def _ways(node: str, facts: MachineFacts, profiles: Mapping[str, Profile]) -> tuple[Way, ...]:
    known = _RECOGNISED.get(node)
    if known is None or known[1] is not profiles or known[0] != facts:
        known = _RECOGNISED[node] = (facts, profiles, ways_of(facts, recognise(facts, profiles)))
    return known[2]


def waiting_requests(activity: Database, at: float) -> tuple[float, dict[str, int]]:
    """When the pool told it last, and how many requests wait for each model; nothing when it is silent."""
    row = activity.execute("SELECT at, report FROM node_reports WHERE node = 'pool'").fetchone()
    if row is None or age_seconds(row[0], at) > SILENT_AFTER_SECONDS:
        return 0.0, {}
    return row[0], {
        str(model): int(number) for model, number in json.loads(row[1]).get("waiting", {}).items()
    }


_WAITED_FOR: dict[str, tuple[float, float]] = {}
"""By model that no node has ready, epoch seconds: since when it is waited for, and when it was last."""


def waited_seconds(waiting: Collection[str], running: Iterable[Running], at: float) -> dict[str, float]:
    """How long each model that no node has ready is waited for. Who was told to come back later, and does,
    has waited all the while."""
    ready = {each.model for each in running if each.ready}
    for model, (_, last) in list(_WAITED_FOR.items()):
        if model in ready or age_seconds(last, at) > _COMES_BACK_WITHIN_SECONDS:
            del _WAITED_FOR[model]
    homeless = [model for model in waiting if model not in ready]
    for model in homeless:
        since, _ = _WAITED_FOR.get(model, (at, at))
        _WAITED_FOR[model] = min(since, at), at
    return {model: at - _WAITED_FOR[model][0] for model in homeless}


def running_engines(
    activity: Database, reports: Mapping[str, Heard], models: Sequence[ModelNeed], at: float
) -> tuple[Running, ...]:
    """What the reports say that runs, without heads of split models, which are no node's own.

    An engine's device is its way's, where it doesn't say.
    """
    by_name = {model.name: model for model in models}
    asked = _last_asked(activity, at)
    found = []
    for node, said in sorted(reports.items()):
        for engine in () if said.is_silent else said.report.get("engines", ()):
            if not (node == BOX_NODE and engine.get("parts")):
                found.append(_running(node, engine, by_name.get(str(engine.get("model"))), asked, at))
    _forget_ended({(each.node, each.model) for each in found})
    return tuple(found)


_READY_SINCE: dict[tuple[str, str], float] = {}
"""By node and model, epoch seconds: reports don't tell since when an engine is ready."""


def _loaded_seconds(node: str, said: Mapping[str, Any], at: float) -> float:
    if not said.get("ready"):
        return 0.0
    key = (node, str(said.get("model")))
    _READY_SINCE[key] = min(_READY_SINCE.get(key, at), at)  # the clock may have been set back
    return at - _READY_SINCE[key]


def _forget_ended(running: set[tuple[str, str]]) -> None:
    for key in _READY_SINCE.keys() - running:
        del _READY_SINCE[key]


def placeable(running: Sequence[Running], models: Sequence[ModelNeed]) -> tuple[Running, ...]:
    """Without what is not placement's: adopted servers, and what somebody started by hand."""
    names = {model.name for model in models}
    return tuple(each for each in running if each.engine is not EngineName.ADOPTED and each.model in names)


def _running(
    node: str,
    said: Mapping[str, Any],
    model: ModelNeed | None,
    asked: Mapping[tuple[str, str], float],
    at: float,
) -> Running:
    is_text = said.get("kind", Kind.TEXT) == Kind.TEXT
    slots, context = int(said.get("slots") or 1), int(said.get("context_tokens") or 0)
    digest = str(said.get("sha256") or "")
    files = [each for each in model.files if each.digest == digest] if model else []
    if model and not digest and model.files:
        files = [model.files[0]]
    engine = EngineName(said.get("engine") or EngineName.LLAMA_CPP)
    memory = 0
    if model and files:
        memory = room_taken(model, as_loaded(files[0], engine), context, slots).memory_bytes
    last = asked.get((node, str(said.get("model"))), at - ASKED_WITHIN_SECONDS)
    loaded = _loaded_seconds(node, said, at)
    ending = said.get("ending") or {}
    return Running(
        node=node,
        model=str(said.get("model")),
        digest=files[0].digest if files else digest,
        engine=engine,
        device=str(said.get("device") or "CPU"),
        slots=slots if is_text else 0,
        context_tokens=context if is_text else 0,
        in_flight=int(said.get("busy") or 0) + int(said.get("waiting") or 0),
        idle_seconds=min(max(0.0, at - last), loaded),
        loaded_seconds=loaded,
        ready=bool(said.get("ready")),
        memory_bytes=memory,
        failed_loads=int(ending.get("failed_loads") or 0),
        last_end=str(ending.get("said") or ""),
    )


def _last_asked(activity: Database, at: float) -> dict[tuple[str, str], float]:
    """Of the last ASKED_WITHIN_SECONDS: the whole ledger would take longer to read each year."""
    rows = activity.execute(
        "SELECT node, model, MAX(at + duration_seconds) FROM ledger"
        " WHERE at > ? AND at <= ? AND node IS NOT NULL AND model IS NOT NULL GROUP BY node, model",
        [at - ASKED_WITHIN_SECONDS, at],
    )
    return {(node, model): last for node, model, last in rows}


def demand_of_hours(activity: Database, at: float, hours: int = DEMAND_HOURS) -> tuple[Demand, ...]:
    """The busiest hour of each model, an hour counting less the longer ago it was. A plan that followed the
    last minutes would move models all day; one that followed the mean would be too small at ten o'clock."""
    rows = activity.execute(
        "SELECT model, CAST((? - at) / 3600 AS INTEGER) AS ago, COUNT(*), SUM(tokens_in), SUM(tokens_out)"
        " FROM ledger WHERE at > ? AND at <= ? AND model IS NOT NULL AND outcome != 'refused'"
        " GROUP BY model, ago",
        [at, at - hours * 3600, at],
    )
    busiest: dict[str, Demand] = {}
    for model, ago, requests, tokens_in, tokens_out in rows:
        weight = 0.5 ** (ago / _HALF_LIFE_HOURS)
        found = Demand(model, requests * weight, tokens_in * weight, tokens_out * weight)
        if model not in busiest or _tokens(found) > _tokens(busiest[model]):
            busiest[model] = found
    return tuple(busiest[name] for name in sorted(busiest))


def _tokens(demand: Demand) -> float:
    return demand.answer_tokens_per_hour + demand.prompt_tokens_per_hour / 8
