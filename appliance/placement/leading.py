"""Every node is led to what it should run: the applied plan, and what somebody waits for now.

Called every two seconds; each call is complete in itself. The box's own engines are specs that are tended to
(engines.tending), a worker's are its wish, which it hears with its next report. What runs as it should stays
untouched: it is told as it was told before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.spec import EngineSpec, read_specs, write_specs
from appliance.engines.tending import read_engine_states
from appliance.enrolment.contract import DesiredEngine
from appliance.enrolment.rules import ordinary_wish
from appliance.enrolment.wishes import forget_wishes, set_wish, wish_for
from appliance.hardware import known_machines, profile_folders, profiles_in
from appliance.models.bundle import Bundle
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.held import HeldModel, held_models
from appliance.models.layout import blob_path, engine_path
from appliance.models.making_way import keep_making_way
from appliance.models.unloadable import keep_unloadable
from appliance.placement.contract import (
    GivenUp,
    ModelNeed,
    NodeFacts,
    Placed,
    Plan,
    Running,
    Speed,
    SpeedSource,
    Way,
    Wishes,
)
from appliance.placement.demo_room import beside_demo, without_own_demo
from appliance.placement.failed_ways import machines_as_of, of_the_box, remember_failed_ways
from appliance.placement.fleet import (
    ABSENT_AFTER_SECONDS,
    Heard,
    fleet_nodes,
    heard,
    placeable,
    running_engines,
    waited_seconds,
    waiting_requests,
)
from appliance.placement.following import box_facts
from appliance.placement.giving_up import without_given_up
from appliance.placement.history import History
from appliance.placement.memory import as_loaded, room_taken
from appliance.placement.needs import model_needs
from appliance.placement.nowhere import tell_nowhere
from appliance.placement.planning import plan
from appliance.placement.residency import Move
from appliance.placement.splits import SplitModels, beside_splits, read_splits, without_heads
from appliance.placement.stepping import NodeNow, what_now
from appliance.placement.store import (
    AppliedEngine,
    applied_by_node,
    load_again,
    read_measures,
    read_placement,
)
from appliance.placement.waiting import Fleet, place_waiting
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity, open_cellule, transaction

_NOT_ASKED = Speed(0.0, 0.0, 0.0, 1, SpeedSource.ASSUMED, "")


@dataclass(frozen=True)
class Facts:
    """What is read once a call."""

    held: Mapping[str, HeldModel]
    needs: Mapping[str, ModelNeed]
    nodes: Sequence[NodeFacts]
    running: Sequence[Running]
    waiting: Mapping[str, int]
    waited_seconds: Mapping[str, float]
    wishes: Wishes
    applied: Mapping[str, Sequence[AppliedEngine]]
    given_up: Sequence[GivenUp]
    absent_too: Sequence[NodeFacts]
    """With those that were heard of not long ago."""
    lasting: Wishes
    """Without those for a while."""
    splits: SplitModels
    at: float
    activity: Database

    @cached_property
    def measures(self) -> History:
        """Only where a model has no node: of a large fleet they are many."""
        return read_measures(self.activity)

    @property
    def split(self) -> set[str]:
        """Models that run on several nodes together: placement.splitting leads them."""
        return {each.model for each in self.splits.splits}

    @property
    def led(self) -> list[Running]:
        """What runs without the box's own demo engine, a service of its own, whose memory `nodes` lack."""
        return without_own_demo(self.running)


def lead(settings: Settings) -> str:
    """Writes specs and wishes that differ; what changed, as a sentence."""
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        held = {model.name: model for model in held_models(cellule)}
        if all(model.ships for model in held.values()):
            # nothing but the demo: each node runs what it runs from the start
            forget_wishes(cellule, lambda bundle: _is_here(settings, bundle))
            keep_unloadable(cellule, {})
            keep_making_way(cellule, frozenset())
            return "no engine beside the demo's" if write_specs(settings.engine_specs_dir, {}) else ""
        facts = _read(settings, cellule, activity, held)
        planned = {node.id: _planned_on(node, facts) for node in facts.nodes}
        _place_waiting(facts, planned)
        _tell_nowhere(cellule, facts, planned)
        found = {node.id: _now(node, planned[node.id], facts) for node in facts.nodes}
        keep_making_way(cellule, _draining(found.values()))
        told = [_lead_node(settings, cellule, node, facts, found[node.id]) for node in facts.nodes]
    return " ".join(filter(None, told))


def _is_here(settings: Settings, bundle: Bundle) -> bool:
    return all(blob_path(settings.state_dir, file.sha256).is_file() for file in bundle.files)


def _read(settings: Settings, cellule: Database, activity: Database, held: Mapping[str, HeldModel]) -> Facts:
    at = now()
    needs = model_needs(held.values())
    reports = heard(activity, at)
    decided = read_splits(cellule)
    splits = decided.splits
    told_at, waiting = waiting_requests(activity, at)
    load_again(cellule, waiting, told_at)
    choice = read_placement(cellule)
    profiles, _ = profiles_in(profile_folders(settings))
    machines = {BOX_NODE: box_facts(), **known_machines(activity)}
    running = placeable(running_engines(activity, reports, needs, at), needs)
    given_up = remember_failed_ways(
        activity,
        [*running, *of_the_box(read_engine_states(settings).engines)],
        machines_as_of(machines, reports),
        at,
    )

    def nodes(reports: Mapping[str, Heard]) -> tuple[NodeFacts, ...]:
        there = fleet_nodes(cellule, reports, profiles, machines)
        return beside_splits(beside_demo(there, needs, running), splits)

    return Facts(
        held=held,
        needs={need.name: need for need in needs},
        nodes=nodes(reports),
        absent_too=nodes(heard(activity, at, ABSENT_AFTER_SECONDS)),
        running=without_heads(without_given_up(running, given_up), splits),
        waiting=waiting,
        waited_seconds=waited_seconds(waiting, running, at),
        wishes=choice.wishes(at),
        lasting=choice.wishes(inf),
        applied=applied_by_node(cellule),
        given_up=given_up,
        splits=decided,
        at=at,
        activity=activity,
    )


def _lead_node(settings: Settings, cellule: Database, node: NodeFacts, facts: Facts, found: NodeNow) -> str:
    if not node.ways:
        return ""  # too little memory for a plan: it does what it does from the start
    if node.is_box:
        changed = _lead_box(settings, node, found, facts.held)
    else:
        changed = _lead_worker(cellule, node, found, facts.held)
    moves = "; ".join(f"{step.move} {step.model} ({step.because})" for step in found.steps)
    return f"{node.name}: {moves}." if changed else ""


def _now(node: NodeFacts, planned: Sequence[Placed], facts: Facts) -> NodeNow:
    return what_now(
        node,
        Plan(tuple(planned), (), ()),
        facts.led,
        demo_models={DEMO_MODEL_NAME},
        pinned=facts.wishes.pinned,
        never=facts.wishes.never,
        waiting=facts.waiting,
        waited_seconds=facts.waited_seconds,
    )


def _draining(found: Iterable[NodeNow]) -> set[tuple[str, str]]:
    return {(now.node, step.model) for now in found for step in now.steps if step.move is Move.DRAIN}


def _planned_on(node: NodeFacts, facts: Facts) -> list[Placed]:
    """What was applied, as far as it can be had, and a worker's demo."""
    planned = [
        each
        for one in facts.applied.get(node.id, ())
        if one.model != DEMO_MODEL_NAME
        # whole and split it would answer on the box at one address
        and not (node.is_box and one.model in facts.split)
        and (node.id, one.model) not in facts.wishes.never
        and (each := as_placed(one, node, facts.needs))
    ]
    return planned if node.is_box else [*planned, *_demo_on(node, facts)]


def as_placed(applied: AppliedEngine, node: NodeFacts, needs: Mapping[str, ModelNeed]) -> Placed | None:
    """The applied engine with its sizes; None where the node or the box no longer has what it needs."""
    need = needs.get(applied.model)
    way = next((w for w in node.ways if (w.engine, w.device) == (applied.engine, applied.device)), None)
    files = next((each for each in need.files if each.digest == applied.digest), None) if need else None
    if need is None or way is None or files is None:
        return None
    room = room_taken(need, as_loaded(files, way.engine), applied.context_tokens, applied.slots)
    return Placed(
        node=node.id,
        model=need.name,
        digest=files.digest,
        way=way,
        slots=applied.slots,
        context_tokens=applied.context_tokens,
        weights_bytes=room.weights_bytes,
        kv_bytes=room.kv_bytes,
        compute_bytes=room.compute_bytes,
        speed=_NOT_ASKED,
        because=applied.because,
    )


def _place_waiting(facts: Facts, planned: dict[str, list[Placed]]) -> None:
    """Those that requests wait for and that are nowhere."""
    asked = [need for need in _homeless(facts, planned) if need.name in facts.waiting]
    if not asked:
        return
    fleet = Fleet(
        nodes=facts.nodes,
        needs=facts.needs,
        planned=planned,
        running=facts.led,
        measures=facts.measures,
        given_up=facts.given_up,
        wishes=facts.wishes,
        settle=lambda node, placed: _now(node, placed, facts),
    )
    waited = facts.waited_seconds
    for need in sorted(asked, key=lambda one: (-waited.get(one.name, 0.0), -facts.waiting[one.name])):
        if taken := place_waiting(need, fleet):
            planned[taken.node] = list(taken.placed)


def _tell_nowhere(cellule: Database, facts: Facts, planned: Mapping[str, Sequence[Placed]]) -> None:
    """A node that was silent for a while counts: it may come back with room."""
    homeless = _homeless(facts, planned)
    tell_nowhere(
        cellule,
        homeless,
        facts.absent_too,
        measures=facts.measures if homeless else History(),
        wishes=facts.lasting,
        given_up=facts.given_up,
        splits=facts.splits,
        at=facts.at,
    )


def _homeless(facts: Facts, planned: Mapping[str, Sequence[Placed]]) -> list[ModelNeed]:
    """Those for which placement should find a node: none has them or is about to, and no split."""
    housed = {each.model for each in facts.running if each.ready} | facts.split
    housed |= {each.model for on_node in planned.values() for each in on_node}
    return [need for need in facts.needs.values() if not need.is_demo and need.name not in housed]


def _demo_on(node: NodeFacts, facts: Facts) -> list[Placed]:
    """The demo as it runs there, or as every worker has it from the start: it is never started anew."""
    runs = next((r for r in facts.running if (r.node, r.model) == (node.id, DEMO_MODEL_NAME)), None)
    return [
        replace(placed, slots=runs.slots, context_tokens=runs.context_tokens, digest=runs.digest)
        if runs
        else placed
        for placed in plan([node], [facts.needs[DEMO_MODEL_NAME]]).placed
    ]


def _lead_box(settings: Settings, node: NodeFacts, found: NodeNow, held: Mapping[str, HeldModel]) -> bool:
    before, _ = read_specs(settings.engine_specs_dir)
    engines = _engines(node, found, {name: _told_before(spec, held) for name, spec in before.items()}, held)
    specs = {engine.model: _spec(settings, engine) for engine in engines}
    return write_specs(settings.engine_specs_dir, specs)


def _lead_worker(cellule: Database, node: NodeFacts, found: NodeNow, held: Mapping[str, HeldModel]) -> bool:
    with transaction(cellule):  # placement.splitting writes the same wishes
        wish = wish_for(cellule, node.id) or ordinary_wish()
        engines = _engines(node, found, {engine.model: engine for engine in wish.engines}, held)
        if {engine.model: engine for engine in engines} == {engine.model: engine for engine in wish.engines}:
            return False
        set_wish(cellule, node.id, wish.model_copy(update={"engines": engines}))
    return True


def _engines(
    node: NodeFacts,
    found: NodeNow,
    before: Mapping[str, DesiredEngine],
    held: Mapping[str, HeldModel],
) -> tuple[DesiredEngine, ...]:
    kept = (before.get(each.model) or _kept(each, held[each.model], node.ways) for each in found.keep)
    planned = (_planned(each, held[each.model], before.get(each.model)) for each in found.have)
    return tuple(sorted([*kept, *planned], key=lambda engine: engine.model))


def _kept(running: Running, model: HeldModel, ways: Sequence[Way]) -> DesiredEngine:
    """What runs without having been told here: its settings are its way's, as a report doesn't name them."""
    way = next((way for way in ways if (way.engine, way.device) == (running.engine, running.device)), None)
    return DesiredEngine(
        model=running.model,
        slots=max(1, running.slots),
        context_tokens=running.context_tokens,
        engine=running.engine,
        kind=model.kind,
        device=running.device,
        settings=dict(way.settings) if way and not model.ships else {},
        prompt_tokens=way.prompt_tokens if way and not model.ships else 0,
        bundle=None if model.ships else model.bundle,
    )


def _planned(placed: Placed, model: HeldModel, before: DesiredEngine | None) -> DesiredEngine:
    if model.ships:
        # as every worker has it from the start, and the same text of it, or it would be started anew
        return before or next(iter(ordinary_wish().engines))
    return DesiredEngine(
        model=placed.model,
        slots=placed.slots,
        context_tokens=placed.context_tokens,
        engine=placed.way.engine,
        kind=model.kind,
        device=placed.way.device,
        settings=dict(placed.way.settings),
        prompt_tokens=placed.way.prompt_tokens,
        bundle=model.bundle,
    )


def _spec(settings: Settings, engine: DesiredEngine) -> EngineSpec:
    assert engine.bundle
    return EngineSpec(
        name=engine.model,
        model_file=engine_path(settings.state_dir, engine.bundle),
        digest=engine.bundle.digest,
        engine=engine.engine,
        kind=engine.kind,
        device=engine.device,
        settings=engine.settings,
        slots=engine.slots,
        context_tokens=engine.context_tokens,
        prompt_tokens=engine.prompt_tokens,
    )


def _told_before(spec: EngineSpec, held: Mapping[str, HeldModel]) -> DesiredEngine:
    model = held.get(spec.name)
    return DesiredEngine(
        model=spec.name,
        slots=spec.slots,
        context_tokens=spec.context_tokens,
        engine=spec.engine,
        kind=spec.kind,
        device=spec.device,
        settings=spec.settings,
        prompt_tokens=spec.prompt_tokens,
        bundle=model.bundle if model and model.digest == spec.digest else None,
    )
