"""A model that fits no single node runs split over the box and workers: decided, carried out, taken back.

Called every few seconds; each call is complete in itself, and at most one split changes in a call. Parts are
asked for first; the head's spec is written once all of them lend what they should. What ends does so in the
other order: first the head's spec goes, then the parts. The rules are in `split_deciding`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.options import Kind
from appliance.engines.sharding.parts import PARTS_SETTING, PartAddress
from appliance.engines.sharding.sizes import Weights
from appliance.engines.sharding.status import PartSilent, PartStatus, ask_part
from appliance.engines.sharding.weights import read_weights
from appliance.engines.spec import EngineSpec, read_specs, write_specs
from appliance.engines.tending import read_engine_states
from appliance.enrolment import Worker, WorkerState, list_workers
from appliance.errors import Refusal
from appliance.models.bundle import ModelFormat
from appliance.models.held import HeldModel, held_models
from appliance.models.layout import engine_path
from appliance.placement.contract import ModelNeed, NodeFacts, Placed
from appliance.placement.current import CurrentPlan
from appliance.placement.following import plan_of_box
from appliance.placement.leading import as_placed
from appliance.placement.links import ASSUMED_LINK_BYTES_PER_SECOND, Links
from appliance.placement.sharding import Alternative
from appliance.placement.speed import bytes_read_per_second
from appliance.placement.split_cost import SplitModel, SplitNode
from appliance.placement.split_deciding import Asked, decide
from appliance.placement.split_orders import order_parts
from appliance.placement.split_rooms import has_made_room, room_bytes, runs_whole
from appliance.placement.split_watching import SplitWatch
from appliance.placement.splits import Split, SplitModels, Unsplit, keep_splits, lending_way, read_splits
from appliance.placement.store import Applying, SplitWish, applied_by_node
from appliance.settings import WORKER_PART_PORT, Settings
from appliance.storage import open_activity, open_cellule

HOMELESS_SECONDS = 10.0
"""So long a model finds no node before it is split: after a start the workers report one by one."""
_SLOTS = 4
_ASK_SECONDS = 2.0
_LINKS, _WATCH = Links(), SplitWatch()


@dataclass(frozen=True)
class _Facts:
    """What is read once a call."""

    settings: Settings
    current: CurrentPlan
    held: Mapping[str, HeldModel]
    workers: Mapping[str, Worker]
    before: SplitModels
    wanted: Sequence[Placed]
    """What the nodes are led to, beside splits."""
    statuses: Mapping[str, PartStatus]
    """Of the parts that answer, by node."""
    at: float

    def well(self, split: Split) -> set[str]:
        """The nodes that lend what this split wants of them."""
        return {
            part.node
            for part in split.plan.parts
            if (said := self.statuses.get(part.node))
            and said.ready
            and said.memory_bytes == part.memory_bytes
        }

    def may_start(self, split: Split) -> bool:
        """Whether all its parts are there and it need not wait for an engine that gives way."""
        if split not in self.before.splits or len(self.well(split)) < len(split.plan.parts):
            return False
        return has_made_room(split, self.current.nodes, self.current.running, self.demos)

    def ruled_out(self, need: ModelNeed) -> frozenset[str]:
        """The nodes where an admin never wants the model."""
        pins = self.current.choice.pins
        return frozenset(pin.node for pin in pins if pin.never and pin.model == need.name)

    @property
    def demos(self) -> set[str]:
        return {need.name for need in self.current.models if need.is_demo}


def split_models(settings: Settings) -> str:
    """Decides and carries out; what changed, as a sentence."""
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        held = {model.name: model for model in held_models(cellule) if _could_be_split(model)}
        before = read_splits(cellule)
        if not held and before == SplitModels() and not read_specs(settings.split_specs_dir)[0]:
            return ""
        current = plan_of_box(settings, cellule, activity)
        workers = {each.id: each for each in list_workers(cellule) if each.state is WorkerState.APPROVED}
        statuses = _ask_parts(before.splits)
        wanted = _wanted(cellule, current)
        facts = _Facts(settings, current, held, workers, before, wanted, statuses, now())
        decided = _decided(facts)
        changed = keep_splits(cellule, decided)
        done = _carry_out(cellule, facts, decided.splits)
    return " ".join([*(_told(decided, before) if changed else ()), *done])


def _wanted(cellule: Database, current: CurrentPlan) -> Sequence[Placed]:
    """The plan, or the one that an admin said last where plans wait for his word."""
    if current.choice.applying is Applying.AUTOMATICALLY:
        return current.plan.placed
    needs, applied = {need.name: need for need in current.models}, applied_by_node(cellule)
    return [
        placed
        for node in current.nodes
        for one in applied.get(node.id, ())
        if (placed := as_placed(one, node, needs))
    ]


def _could_be_split(model: HeldModel) -> bool:
    return not model.ships and model.kind is Kind.TEXT and model.bundle.format is ModelFormat.GGUF


def _ask_parts(splits: Iterable[Split]) -> dict[str, PartStatus]:
    found = {}
    for split in splits:
        for node, address in split.addresses.items():
            try:
                found[node] = ask_part(PartAddress(IPv4Address(address), WORKER_PART_PORT), _ASK_SECONDS)
            except PartSilent:
                continue
    return found


def _decided(facts: _Facts) -> SplitModels:
    """Models that are split come first, then the better ones; the first change is the only one."""
    settled = {split.model: split for split in facts.before.splits if split.model in facts.held}
    needs = [need for need in facts.current.models if need.name in facts.held]
    splits, unsplit = dict(settled), list[Unsplit]()
    for need in sorted(needs, key=lambda need: (need.name not in settled, -need.quality, need.name)):
        found = _decide(facts, need, settled.get(need.name))
        if isinstance(found, Unsplit):
            unsplit.append(found)
        if splits != settled or found == settled.get(need.name):
            continue
        if isinstance(found, Split):
            splits[need.name] = found
        else:
            splits.pop(need.name, None)
    unsplit = [each for each in unsplit if each.model not in splits]
    return SplitModels(splits=tuple(splits[name] for name in sorted(splits)), unsplit=tuple(unsplit))


def _decide(facts: _Facts, need: ModelNeed, settled: Split | None) -> Split | Unsplit | None:
    fits = runs_whole(facts.current, need, settled)
    if fits and settled is None:
        _WATCH.homeless_seconds(need.name, False, facts.at)
        return None
    if settled is None and _WATCH.homeless_seconds(need.name, not fits, facts.at) < HOMELESS_SECONDS:
        return None
    lost = _lost(facts, settled) if settled else set()
    ruled_out = facts.ruled_out(need)
    is_open = settled is None or bool(lost or ruled_out & settled.addresses.keys())
    asked = _asked(facts, need, settled, fits, is_open=is_open)
    return decide(asked, settled, lost, facts.at) if asked else settled


def _lost(facts: _Facts, settled: Split) -> set[str]:
    heads = {state.name: state for state in read_engine_states(facts.settings).engines}
    gone = {part.node for part in settled.plan.parts if part.node not in facts.workers}
    return gone | _WATCH.lost(settled, facts.well(settled), heads.get(settled.model), facts.at)


def _asked(
    facts: _Facts, need: ModelNeed, settled: Split | None, fits: bool, *, is_open: bool
) -> Asked | None:
    """None where the model can't be read or the box can't compute. Links are measured where a split is open:
    one that stays needs none."""
    model = _split_model(facts, need)
    nodes = {node.id: node for node in facts.current.nodes}
    box = next((node for node in nodes.values() if node.is_box), None)
    wish = facts.current.choice.splits.get(need.name)
    insists = wish is SplitWish.ANYWAY
    head = _split_node(facts, box, settled, insists) if box else None
    if model is None or head is None:
        return None
    choice = facts.current.choice
    addresses = _lenders(facts, need, settled)
    links = _LINKS.measure(addresses) if is_open else _LINKS.known(addresses)
    others = (_split_node(facts, nodes[node], settled, insists, seconds) for node, seconds in links.items())
    return Asked(
        model=model,
        digest=facts.held[need.name].digest,
        head=head,
        others=tuple(sorted((each for each in others if each), key=lambda each: each.id)),
        addresses=addresses,
        alternative=smaller_model(facts.current, need),
        least_tokens_per_second=choice.least_tokens_per_second,
        wish=wish,
        by_itself=choice.applying is Applying.AUTOMATICALLY,
        fits_one_node=fits,
        ruled_out=facts.ruled_out(need),
    )


def _split_model(facts: _Facts, need: ModelNeed) -> SplitModel | None:
    held = facts.held[need.name]
    try:
        weights = _weights(engine_path(facts.settings.state_dir, held.bundle), held.digest)
    except Refusal:
        return None  # it is checked by models.checks, which tells what is wrong with it
    return SplitModel(need.name, weights, need.context_tokens, need.active_share)


@cache
def _weights(path: Path, digest: str) -> Weights:
    return read_weights(path)


def _lenders(facts: _Facts, need: ModelNeed, settled: Split | None) -> dict[str, str]:
    """The tunnel addresses of the workers that may lend: not those of another split, for a worker has one
    part; not those that are held back, and not those where an admin never wants the model."""
    taken = {
        part.node
        for split in facts.before.splits
        if settled is None or split.model != settled.model
        for part in split.plan.parts
    }
    barred = taken | facts.ruled_out(need) | _WATCH.held_back(facts.at)
    return {
        node.id: address
        for node in facts.current.nodes
        if node.id not in barred
        and (worker := facts.workers.get(node.id))
        and (address := worker.tunnel_address)
    }


def _split_node(
    facts: _Facts, node: NodeFacts, settled: Split | None, insists: bool, link_seconds: float = 0.0
) -> SplitNode | None:
    way = lending_way(node)
    if way is None:
        return None
    left = room_bytes(
        way,
        node.id,
        facts.wanted,
        is_insisted_on=insists,
        pinned=facts.current.wishes.pinned,
        demos=facts.demos,
    )
    return SplitNode(
        id=node.id,
        name=node.name,
        memory_bytes=left + (settled.bytes_on(node.id) if settled else 0),
        bytes_per_second=bytes_read_per_second(node, way, facts.current.measures),
        link_seconds=link_seconds,
        link_bytes_per_second=0.0 if node.is_box else ASSUMED_LINK_BYTES_PER_SECOND,
    )


def smaller_model(current: CurrentPlan, need: ModelNeed) -> Alternative | None:
    """The best smaller model for the same use that the plan places, where it is fastest."""
    alike = (model for model in current.models if model.kind is need.kind and not model.is_demo)
    quality = {model.name: model.quality for model in alike}
    names = {node.id: node.name for node in current.nodes}
    smaller = [
        placed
        for placed in current.plan.placed
        if placed.model in quality and quality[placed.model] < need.quality and placed.context_tokens
    ]
    best = max(smaller, key=lambda each: (quality[each.model], each.speed.alone), default=None)
    return Alternative(best.model, names[best.node], best.speed.alone) if best else None


def _carry_out(cellule: Database, facts: _Facts, splits: Sequence[Split]) -> list[str]:
    """Heads that must end do so before their parts; a new one starts when its parts are there."""
    folder = facts.settings.split_specs_dir
    before, _ = read_specs(folder)
    specs = {split.model: _spec(facts, split) for split in splits}
    ready = {
        split.model
        for split in splits
        if before.get(split.model) == specs[split.model] or facts.may_start(split)
    }
    starting = [name for name in sorted(ready) if name not in before]
    if before or ready:
        write_specs(folder, {name: specs[name] for name in ready})
    order_parts(cellule, facts.workers, [split.plan for split in splits])
    return [f"All parts of {name} are there; its head starts." for name in starting]


def _spec(facts: _Facts, split: Split) -> EngineSpec:
    held = facts.held[split.model]
    addresses = {node: IPv4Address(address) for node, address in split.addresses.items()}
    return EngineSpec(
        name=split.model,
        model_file=engine_path(facts.settings.state_dir, held.bundle),
        digest=held.digest,
        slots=_SLOTS,
        context_tokens=split.kv_tokens,
        kv_tokens=split.kv_tokens,
        settings={PARTS_SETTING: split.plan.setting(addresses)},
    )


def _told(decided: SplitModels, before: SplitModels) -> list[str]:
    known, now_split = {each.model: each for each in before.splits}, {each.model for each in decided.splits}
    told = [f"{name} is split no more." for name in known if name not in now_split]
    for each in decided.splits:
        if each != known.get(each.model):
            nodes = ", ".join(f"{part.layers} layers on {part.name}" for part in each.plan.parts)
            told.append(f"{each.model} is split: {nodes}, the rest on the box. {' '.join(each.plan.reasons)}")
    for refused in decided.unsplit:
        if refused.refused:
            told.append(f"{refused.model} is not split: {' '.join(refused.refused.reasons)}")
    return told
