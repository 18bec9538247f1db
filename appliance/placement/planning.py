"""Which model runs on which node: a pure rule over what is known, with its reasons.

In this order: what an admin pinned; one copy of every model that is asked for, the most wanted first; the
copies that were wished; more copies where one node would be too busy; a copy of what nobody asks for where
room is left; a copy for each idle node; the demo model where nothing else is. Memory is never exceeded. The
same is laid out once more starting from what runs, and that stays unless the other is clearly better (STAY):
a little more or less of anything moves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.engines.options import Kind
from appliance.placement.changes import changes
from appliance.placement.contract import (
    Demand,
    GivenUp,
    Measured,
    ModelNeed,
    NodeFacts,
    Placed,
    Plan,
    Running,
    Trial,
    Unplaced,
    Wishes,
)
from appliance.placement.growing import grow
from appliance.placement.history import History
from appliance.placement.options import STAY, Considered, Known, Option, as_it_runs, consider
from appliance.placement.reasons import by_machine, joined
from appliance.placement.residency import IDLE_SECONDS

_BUSY_ENOUGH_FOR_MORE = 0.6
"""A model whose nodes would work this share of the time gets another node: beyond it waiting grows fast."""
_BUSY_ENOUGH_TO_KEEP = 0.4
"""A further copy that runs already stays until the others would be less busy than this."""


@dataclass
class _Table:
    """What is laid out so far."""

    nodes: Sequence[NodeFacts]
    models: Mapping[str, ModelNeed]
    demand: Mapping[str, Demand]
    known: Known
    placed: dict[str, list[Placed]] = field(default_factory=dict)
    """By node."""
    options: dict[tuple[str, str], Option] = field(default_factory=dict)
    """What was chosen, by node and model."""
    unplaced: list[Unplaced] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    _considered: dict[tuple[str, str, int, bool], Considered] = field(default_factory=dict)

    @property
    def wishes(self) -> Wishes:
        return self.known.wishes

    def on(self, node: NodeFacts) -> list[Placed]:
        return self.placed.get(node.id, [])

    def holders(self, model: ModelNeed) -> list[Option]:
        return [option for (_, name), option in self.options.items() if name == model.name]

    def consider(self, node: NodeFacts, model: ModelNeed, *, pinned: bool = False) -> Considered:
        """With room for one answer: what is left is shared at the end."""
        there = self.on(node)
        key = (node.id, model.name, len(there), pinned)  # a node only ever gets more
        if key not in self._considered:
            self._considered[key] = consider(node, model, there, self.known, must_be_readable=not pinned)
        return self._considered[key]

    def place(self, option: Option, because: str) -> None:
        self.options[option.node.id, option.model.name] = option
        self.placed.setdefault(option.node.id, []).append(
            Placed(
                option.node.id, option.model.name, option.files.digest, option.way, option.room.slots,
                option.room.context_tokens, option.room.weights_bytes, option.room.kv_bytes,
                option.room.compute_bytes, option.speed,
                f"{because} {option.way.name}: {option.speed.alone:.1f} tokens/s alone, "
                f"{option.speed.together:.1f} with {option.speed.at_once} at once ({option.speed.because})."
                + "".join(f" {other}." for other in option.others),
            )
        )  # fmt: skip

    def is_asked_for(self, model: ModelNeed) -> bool:
        demand = self.demand.get(model.name)
        return demand is not None and demand.requests_per_hour > 0

    def runs(self, node: NodeFacts, model: ModelNeed) -> bool:
        return any((each.node, each.model) == (node.id, model.name) for each in self.known.running)

    def busy(self, node: NodeFacts) -> float:
        """The share of a node's time that its models take, each spread over its nodes."""
        return sum(
            self.busy_of(self.models[each.model]) for each in self.on(node) if each.model in self.demand
        )

    def busy_of(self, model: ModelNeed, more: Option | None = None) -> float:
        """The share of time that each node of the model works, if they share its work by their speed."""
        demand = self.demand.get(model.name)
        holders = self.holders(model) + ([more] if more else [])
        if demand is None or not holders:
            return 0.0
        asked = (demand.prompt_tokens_per_hour, demand.answer_tokens_per_hour)
        return 1 / sum(1 / option.busy_share(*asked) for option in holders)


def plan(
    nodes: Sequence[NodeFacts],
    models: Sequence[ModelNeed],
    *,
    measures: Sequence[Measured] = (),
    demand: Sequence[Demand] = (),
    wishes: Wishes = Wishes(),  # noqa: B008 frozen
    running: Sequence[Running] = (),
    given_up: Sequence[GivenUp] = (),
    trials: Sequence[Trial] = (),
) -> Plan:
    """The plan for these facts; the order in which they are given doesn't matter."""
    known = Known(History.of(measures), wishes, running, given_up, frozenset(trials))
    asked = {each.model: each for each in demand if any(model.name == each.model for model in models)}
    by_name = {model.name: model for model in sorted(models, key=lambda model: model.name)}
    ordered = sorted(nodes, key=lambda node: node.id)
    table = _Table(ordered, by_name, asked, known)
    _lay_out(table)
    if running:
        staying = _Table(ordered, by_name, asked, known)
        _place_as_they_run(staying)
        _lay_out(staying)
        if not _is_clearly_better(table, staying):
            table = staying
    placed = [each for there in table.placed.values() for each in there]
    grown = grow(placed, table.models, table.wishes, running)
    return Plan(grown, tuple(table.unplaced), tuple(table.reasons), changes(grown, running))


def _lay_out(table: _Table) -> None:
    _place_pinned(table)
    real = [model for model in table.models.values() if not model.is_demo]
    wanted = _by_want(table, [model for model in real if _is_wanted(table, model)])
    for model in wanted:
        _place_first(table, model, wanted)
    _place_wished_copies(table, wanted)
    _place_copies_for_work(table, wanted)
    for model in sorted(real, key=lambda model: (-model.quality, model.name)):
        if model not in wanted:
            _place_first(table, model, ())
    _fill_idle_nodes(table, wanted or real)
    _place_demo(table)


def _place_as_they_run(table: _Table) -> None:
    """What was used lately goes on as it is, where it still may: a plan that starts from what is there."""
    nodes = {node.id: node for node in table.nodes}
    used = [each for each in table.known.running if each.in_flight or each.idle_seconds < IDLE_SECONDS]
    for each in sorted(used, key=lambda one: (one.node, one.model)):
        node, model = nodes.get(each.node), table.models.get(each.model)
        key = (each.node, each.model)
        if (
            node is None
            or model is None
            or model.is_demo
            or key in table.options
            or key in table.wishes.never
        ):
            continue
        option = as_it_runs(node, model, each, table.on(node), table.known, pinned=key in table.wishes.pinned)
        if option:
            table.place(option, _why_stays(table, model))


def _why_stays(table: _Table, model: ModelNeed) -> str:
    demand = table.demand.get(model.name)
    if demand and demand.requests_per_hour > 0:
        return (
            f"Asked for {demand.requests_per_hour:.1f} times an hour; it runs here, and no place is better."
        )
    return "It runs here and was used lately; nothing else needs its room."


def _is_clearly_better(fresh: _Table, staying: _Table) -> bool:
    """Whether starting anew is worth the moves: more is served, or something is served better by STAY."""
    missing, missing_now = _unmet(fresh), _unmet(staying)
    if missing != missing_now:
        return missing < missing_now
    left, left_now = _left_out_tokens(fresh), _left_out_tokens(staying)
    if left or left_now:
        return left * STAY < left_now
    busy = {
        model.name: (fresh.busy_of(model), staying.busy_of(model))
        for model in fresh.models.values()
        if fresh.holders(model) and staying.holders(model)
    }
    worse = any(new > now * STAY for new, now in busy.values())
    return not worse and any(now > new * STAY for new, now in busy.values())


def _unmet(table: _Table) -> int:
    """Pins and wished copies that are not there."""
    pins = sum(key not in table.options for key in table.wishes.pinned)
    return pins + sum(
        max(0, table.wishes.copies_of(model.name) - len(table.holders(model)))
        for model in table.models.values()
    )


def _left_out_tokens(table: _Table) -> float:
    """Asked for each hour, of models that run nowhere."""
    return sum(
        demand.prompt_tokens_per_hour / 8 + demand.answer_tokens_per_hour
        for name, demand in table.demand.items()
        if not table.holders(table.models[name])
    )


def _is_wanted(table: _Table, model: ModelNeed) -> bool:
    return table.is_asked_for(model) or table.wishes.copies_of(model.name) > 0


def _by_want(table: _Table, models: Iterable[ModelNeed]) -> list[ModelNeed]:
    """The most wanted first: by tokens asked for, what runs counting for more; then by quality."""

    def want(model: ModelNeed) -> tuple[float, float, str]:
        demand = table.demand.get(model.name)
        tokens = demand.prompt_tokens_per_hour / 8 + demand.answer_tokens_per_hour if demand else 0.0
        runs = any(each.model == model.name for each in table.known.running)
        return -tokens * (STAY if runs else 1), -model.quality, model.name

    return sorted(models, key=want)


def _place_pinned(table: _Table) -> None:
    by_id = {node.id: node for node in table.nodes}
    known = [(node, model) for node, model in table.wishes.pinned if node in by_id and model in table.models]
    for node_id, name in sorted(known, key=lambda pin: (-table.models[pin[1]].quality, pin[1], pin[0])):
        node, model = by_id[node_id], table.models[name]
        if (node_id, name) in table.options:
            continue
        considered = table.consider(node, model, pinned=True)
        if considered.best:
            table.place(considered.best, "Pinned here.")
        else:
            why = f"It is pinned to {node.name}: {joined(considered.why_not)}."
            table.unplaced.append(Unplaced(name, why, node_id))
    for node_id, name in sorted(table.wishes.pinned - set(known)):
        what = f"the model {name}" if name not in table.models else f"the node {node_id}"
        table.unplaced.append(Unplaced(name, f"It is pinned to {node_id}, and {what} is not there.", node_id))


def _place_first(table: _Table, model: ModelNeed, rivals: Sequence[ModelNeed]) -> None:
    if table.holders(model):
        return
    options, why_not = _options(table, model)
    if not options:
        table.unplaced.append(Unplaced(model.name, f"No node can run it: {joined(why_not)}."))
        return
    waiting = [each for each in rivals if each is not model and not table.holders(each)]
    kind = [option for option in options if _leaves_room(table, option, waiting)]
    best = max(kind or options, key=lambda option: _value(table, option))
    table.place(best, _why_first(table, model))


def _why_first(table: _Table, model: ModelNeed) -> str:
    if table.is_asked_for(model):
        demand = table.demand[model.name]
        return (
            f"Asked for {demand.requests_per_hour:.1f} times an hour "
            f"({demand.answer_tokens_per_hour:.0f} tokens of answers), and here it is served best."
        )
    if table.wishes.copies_of(model.name):
        return "An admin wants it at hand, and here it is served best."
    return "Nobody asked for it lately; it takes room that nothing else needs."


def _place_wished_copies(table: _Table, wanted: Sequence[ModelNeed]) -> None:
    for model in wanted:
        copies = table.wishes.copies_of(model.name)
        while len(table.holders(model)) < copies:
            options, why_not = _options(table, model)
            if not options:
                have = len(table.holders(model))
                why = f"{copies} copies are wished and {have} fit: {joined(why_not)}."
                table.unplaced.append(Unplaced(model.name, why))
                break
            best = max(options, key=lambda option: _value(table, option))
            table.place(best, f"{copies} copies are wished.")


def _place_copies_for_work(table: _Table, wanted: Sequence[ModelNeed]) -> None:
    open_ = [model for model in wanted if table.is_asked_for(model) and table.holders(model)]
    while open_:
        model = max(open_, key=lambda each: (table.busy_of(each), each.name))
        busy = table.busy_of(model)
        options, why_not = _options(table, model)
        bound = {True: _BUSY_ENOUGH_TO_KEEP, False: _BUSY_ENOUGH_FOR_MORE}
        options = [option for option in options if busy > bound[table.runs(option.node, model)]]
        if not options:
            open_.remove(model)
            if busy > 1:
                table.unplaced.append(Unplaced(model.name, _too_much(busy, why_not)))
            continue
        best = max(options, key=lambda option: _value(table, option))
        held = ", ".join(sorted(option.node.name for option in table.holders(model)))
        after = table.busy_of(model, best)
        table.place(best, f"Without it {held} would be busy {busy:.0%} of the time, with it {after:.0%}.")


def _too_much(busy: float, why_not: Sequence[str]) -> str:
    more = f" More copies are not possible: {joined(why_not)}." if why_not else " Every node has it already."
    return f"It is asked for {busy:.1f} times as much as its nodes can answer.{more}"


def _fill_idle_nodes(table: _Table, candidates: Sequence[ModelNeed]) -> None:
    """A node that was lent and has nothing yet takes a copy of the best it can run well."""
    texts = [model for model in candidates if model.kind is Kind.TEXT]
    best_first = sorted(texts, key=lambda model: (-model.quality, model.name))
    for node in table.nodes:
        if table.on(node):
            continue
        for model in best_first:
            if (node.id, model.name) in table.wishes.never:
                continue
            considered = table.consider(node, model)
            if considered.best:
                table.place(
                    considered.best, "The node has nothing else to do, and another copy shortens waiting."
                )
                break
            table.reasons.append(f"{node.name} can't run {model.name}: {joined(considered.why_not)}.")


def _place_demo(table: _Table) -> None:
    """On workers: the box's own is a service that is always there, beside all that is planned."""
    demos = [model for model in table.models.values() if model.is_demo]
    for node in (each for each in table.nodes if not each.is_box):
        for model in demos:
            if table.on(node) or (node.id, model.name) in table.wishes.never:
                continue
            considered = table.consider(node, model, pinned=True)
            if considered.best:
                table.place(considered.best, "The last resort: no other model runs on this node.")


def _options(table: _Table, model: ModelNeed) -> tuple[list[Option], list[str]]:
    """On each node that does not have it; and why not on the others."""
    options, kept_off, unable = [], [], []
    for node in table.nodes:
        if (node.id, model.name) in table.options:
            continue
        if (node.id, model.name) in table.wishes.never:
            kept_off.append(f"an admin keeps it off {node.name}")
            continue
        considered = table.consider(node, model)
        if considered.best:
            options.append(considered.best)
        else:
            unable.append((node.name, joined(considered.why_not)))
    why_not = kept_off + by_machine(unable)
    return options, why_not if table.nodes else ["there is no node"]


def _value(table: _Table, option: Option) -> tuple[float, str]:
    """What the model gains there: speed, less the time that other models take; ties by the node's id."""
    free = max(0.05, 1 - table.busy(option.node))
    stays = STAY if table.runs(option.node, option.model) else 1.0
    return option.worth * option.node.lent_share * free * stays, _backwards(option.node.id)


def _backwards(text: str) -> str:
    """Orders the first of equals as the greatest."""
    return "".join(chr(0x10FFFF - ord(letter)) for letter in text)


def _leaves_room(table: _Table, option: Option, waiting: Iterable[ModelNeed]) -> bool:
    """Whether every model that still waits for its first copy could be placed after this."""
    node = option.node
    after = _Table([node], table.models, table.demand, table.known, {node.id: list(table.on(node))})
    after.place(option, "")
    for model in waiting:
        hosts = _hosts(table, model)
        if hosts == [node] and not _options(after, model)[0]:
            return False
    return True


def _hosts(table: _Table, model: ModelNeed) -> list[NodeFacts]:
    """The nodes that could take it now: none, the only one, or more (two, for more are not looked for)."""
    found = []
    for node in table.nodes:
        if (node.id, model.name) not in table.wishes.never and table.consider(node, model).best:
            found.append(node)
            if len(found) == 2:
                break
    return found
