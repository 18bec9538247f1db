"""Every node is led to what it should run: the applied plan, and what somebody waits for now.

Called every two seconds; each call is complete in itself. The box's own engines are specs that are tended to
(engines.tending), a worker's are its wish, which it hears with its next report. What runs as it should stays
untouched: it is told as it was told before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.spec import EngineSpec, read_specs, write_specs
from appliance.enrolment.contract import DesiredEngine
from appliance.enrolment.rules import ordinary_wish
from appliance.enrolment.wishes import forget_wishes, set_wish, wish_for
from appliance.hardware import known_machines, profile_folders, profiles_in
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.held import HeldModel, held_models
from appliance.models.layout import engine_path
from appliance.placement.contract import ModelNeed, NodeFacts, Placed, Plan, Running, Speed, SpeedSource
from appliance.placement.fleet import fleet_nodes, heard, placeable, running_engines, waiting_requests
from appliance.placement.following import box_facts
from appliance.placement.memory import with_working_space
from appliance.placement.needs import model_needs
from appliance.placement.planning import plan
from appliance.placement.splits import beside_splits, read_splits, without_heads
from appliance.placement.stepping import NodeNow, what_now
from appliance.placement.store import AppliedEngine, applied_engines, read_placement
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
    pinned: Collection[tuple[str, str]]
    split: Collection[str] = ()
    """Models that run on several nodes together: placement.splitting leads them."""


def lead(settings: Settings) -> str:
    """Writes specs and wishes that differ; what changed, as a sentence."""
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        held = {model.name: model for model in held_models(cellule)}
        if all(model.ships for model in held.values()):
            # nothing but the demo: each node runs what it runs from the start
            forget_wishes(cellule)
            return "no engine beside the demo's" if write_specs(settings.engine_specs_dir, {}) else ""
        facts = _read(settings, cellule, activity, held)
        told = [
            _lead_node(settings, cellule, node, facts, applied_engines(cellule, node.id))
            for node in facts.nodes
        ]
    return " ".join(filter(None, told))


def _read(settings: Settings, cellule: Database, activity: Database, held: Mapping[str, HeldModel]) -> Facts:
    at = now()
    needs = model_needs(held.values())
    reports = heard(activity, at)
    splits = read_splits(cellule).splits
    profiles, _ = profiles_in(profile_folders(settings))
    machines = {BOX_NODE: box_facts(), **known_machines(activity)}
    return Facts(
        held=held,
        needs={need.name: need for need in needs},
        nodes=beside_splits(fleet_nodes(cellule, reports, profiles, machines), splits),
        running=without_heads(placeable(running_engines(activity, reports, needs, at), needs), splits),
        waiting=waiting_requests(activity, at),
        pinned=read_placement(cellule).wishes().pinned,
        split={each.model for each in splits},
    )


def _lead_node(
    settings: Settings,
    cellule: Database,
    node: NodeFacts,
    facts: Facts,
    applied: Sequence[AppliedEngine],
) -> str:
    planned = [
        each
        for one in applied
        if one.model != DEMO_MODEL_NAME
        # whole and split it would answer on the box at one address
        and not (node.is_box and one.model in facts.split)
        and (each := as_placed(one, node, facts.needs))
    ]
    planned += wanted_now(node, planned, facts)
    running = [
        each for each in facts.running if not (node.is_box and each.model == DEMO_MODEL_NAME)
    ]  # the box's own demo engine is a service of its own
    found = what_now(
        node,
        Plan(tuple(planned), (), ()),
        running,
        demo_models={DEMO_MODEL_NAME},
        pinned=facts.pinned,
        waiting=facts.waiting,
    )
    if node.is_box:
        changed = _lead_box(settings, found, facts.held)
    else:
        changed = _lead_worker(cellule, node, found, facts.held)
    moves = "; ".join(f"{step.move} {step.model} ({step.because})" for step in found.steps)
    return f"{node.name}: {moves}." if changed else ""


def as_placed(applied: AppliedEngine, node: NodeFacts, needs: Mapping[str, ModelNeed]) -> Placed | None:
    """The applied engine with its sizes; None where the node or the box no longer has what it needs."""
    need = needs.get(applied.model)
    way = next((w for w in node.ways if (w.engine, w.device) == (applied.engine, applied.device)), None)
    files = next((each for each in need.files if each.digest == applied.digest), None) if need else None
    if need is None or way is None or files is None:
        return None
    return Placed(
        node=node.id,
        model=need.name,
        digest=files.digest,
        way=way,
        slots=applied.slots,
        context_tokens=applied.context_tokens,
        weights_bytes=with_working_space(files.weights_bytes),
        kv_bytes=applied.slots * applied.context_tokens * need.kv_bytes_per_token,
        speed=_NOT_ASKED,
        because=applied.because,
    )


def wanted_now(node: NodeFacts, planned: Sequence[Placed], facts: Facts) -> list[Placed]:
    """What the node should have beside the plan: a model that is waited for and runs nowhere, and the demo.

    Of the nodes that could hold such a model the first one takes it, the box before all others.
    """
    there = {each.model for each in facts.running if each.ready} | {each.model for each in planned}
    there |= set(facts.split)
    wanted = [
        placed
        for model in facts.waiting
        if model in facts.needs and model not in there and _taker(model, facts) == node.id
        for placed in plan([node], [facts.needs[model]]).placed
    ]
    return wanted if node.is_box else [*wanted, *_demo_on(node, facts)]


def _demo_on(node: NodeFacts, facts: Facts) -> list[Placed]:
    """The demo as it runs there, or as every worker has it from the start: it is never started anew."""
    runs = next((r for r in facts.running if (r.node, r.model) == (node.id, DEMO_MODEL_NAME)), None)
    return [
        replace(placed, slots=runs.slots, context_tokens=runs.context_tokens, digest=runs.digest)
        if runs
        else placed
        for placed in plan([node], [facts.needs[DEMO_MODEL_NAME]]).placed
    ]


def _taker(model: str, facts: Facts) -> str | None:
    by_preference = sorted(facts.nodes, key=lambda node: (not node.is_box, node.id))
    fitting = (node.id for node in by_preference if plan([node], [facts.needs[model]]).placed)
    return next(fitting, None)


def _lead_box(settings: Settings, found: NodeNow, held: Mapping[str, HeldModel]) -> bool:
    before, _ = read_specs(settings.engine_specs_dir)
    engines = _engines(found, {name: _told_before(spec, held) for name, spec in before.items()}, held)
    specs = {engine.model: _spec(settings, engine) for engine in engines}
    return write_specs(settings.engine_specs_dir, specs)


def _lead_worker(cellule: Database, node: NodeFacts, found: NodeNow, held: Mapping[str, HeldModel]) -> bool:
    with transaction(cellule):  # placement.splitting writes the same wishes
        wish = wish_for(cellule, node.id) or ordinary_wish()
        engines = _engines(found, {engine.model: engine for engine in wish.engines}, held)
        if {engine.model: engine for engine in engines} == {engine.model: engine for engine in wish.engines}:
            return False
        set_wish(cellule, node.id, wish.model_copy(update={"engines": engines}))
    return True


def _engines(
    found: NodeNow, before: Mapping[str, DesiredEngine], held: Mapping[str, HeldModel]
) -> tuple[DesiredEngine, ...]:
    kept = (before.get(each.model) or _kept(each, held[each.model]) for each in found.keep)
    planned = (_planned(each, held[each.model], before.get(each.model)) for each in found.have)
    return tuple(sorted([*kept, *planned], key=lambda engine: engine.model))


def _kept(running: Running, model: HeldModel) -> DesiredEngine:
    return DesiredEngine(
        model=running.model,
        slots=max(1, running.slots),
        context_tokens=running.context_tokens,
        engine=running.engine,
        kind=model.kind,
        device=running.device,
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
