"""Where a model that requests wait for goes, and how much room it takes. Pure.

Beside what is there, if that can be: in all the room that is free, down to one answer of the least context.
Where that is too little, what is there has fewer answers at once; where that is not enough either, what was
idle longest makes way, and no more of it than must. An admin's "never" holds here, too.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from appliance.placement.contract import (
    Demand,
    GivenUp,
    Measured,
    ModelNeed,
    NodeFacts,
    Placed,
    Running,
    Wishes,
)
from appliance.placement.planning import plan
from appliance.placement.residency import Move
from appliance.placement.stepping import NodeNow


@dataclass(frozen=True)
class Fleet:
    """What there is: `planned` by node, `running` without what placement does not lead; and the rule that
    says what a node would do with a plan."""

    nodes: Sequence[NodeFacts]
    needs: Mapping[str, ModelNeed]
    planned: Mapping[str, Sequence[Placed]]
    running: Sequence[Running]
    measures: Sequence[Measured]
    wishes: Wishes
    settle: Callable[[NodeFacts, Sequence[Placed]], NodeNow]
    given_up: Sequence[GivenUp] = ()

    def running_on(self, node: NodeFacts) -> list[Running]:
        return [each for each in self.running if each.node == node.id]


@dataclass(frozen=True)
class Taken:
    """What the node should have from now on, the waited-for model with it."""

    node: str
    placed: tuple[Placed, ...]


def place_waiting(need: ModelNeed, fleet: Fleet) -> Taken | None:
    """On the first node that can load it now, where it is being loaded or the box before others; else on the
    first that drains for it, or else that can when what it gives has ended. None where no node can ever."""
    comes_to = {each.node for each in fleet.running if each.model == need.name}
    nodes = sorted(fleet.nodes, key=lambda node: (node.id not in comes_to, not node.is_box, node.id))
    for attempt in (_beside, _closer, _instead):
        for node in nodes:
            wanted = attempt(node, need, fleet)
            if wanted and _loads(node, need, fleet.settle(node, wanted)):
                return Taken(node.id, tuple(wanted))
    later = [
        (node, Taken(node.id, (*fleet.planned[node.id], *least)))
        for node in nodes
        if (least := _least(node, need, fleet))
    ]
    # sorting is stable: of those that drain, or of those that don't, the first
    later.sort(key=lambda each: not _drains(fleet.settle(each[0], each[1].placed)))
    return later[0][1] if later else None


def _beside(node: NodeFacts, need: ModelNeed, fleet: Fleet) -> list[Placed]:
    return _with(node, need, fleet, leaving=())


def _closer(node: NodeFacts, need: ModelNeed, fleet: Fleet) -> list[Placed]:
    """All that is there and the model, each with less room; empty where one of them would be left out."""
    running = fleet.running_on(node)
    planned = fleet.planned[node.id]
    there = ({each.model for each in running} | {each.model for each in planned}) - {need.name}
    others = [fleet.needs[name] for name in sorted(there) if name in fleet.needs]
    others = [each for each in others if not each.is_demo]
    asked = Demand(need.name, 1, need.context_tokens, need.context_tokens)
    wishes = _of_node(fleet.wishes, node)
    found = plan(
        [node], [*others, need], measures=fleet.measures, demand=[asked], wishes=wishes, running=running,
        given_up=fleet.given_up,
    ).placed  # fmt: skip
    if {each.model for each in found} != {need.name, *(each.name for each in others)}:
        return []
    return [*found, *(each for each in planned if fleet.needs[each.model].is_demo)]


def _instead(node: NodeFacts, need: ModelNeed, fleet: Fleet) -> list[Placed]:
    """In the place of what makes way for one answer of it, with as much room as that leaves."""
    least = [*fleet.planned[node.id], *_least(node, need, fleet)]
    steps = fleet.settle(node, least).steps
    # what left for it already waits to come back
    leaving = {step.model for step in steps if step.move in (Move.UNLOAD, Move.WAIT)}
    return _with(node, need, fleet, leaving) or least


def _with(node: NodeFacts, need: ModelNeed, fleet: Fleet, leaving: Collection[str]) -> list[Placed]:
    """What is planned, and the model in the room that is left beside what stays."""
    planned = fleet.planned[node.id]
    taken = {each.model: (each.way.memory, each.memory_bytes) for each in planned}
    memories = {(way.engine, way.device): way.memory for way in node.ways}
    for each in fleet.running_on(node):
        if memory := memories.get((each.engine, each.device)):
            taken[each.model] = (memory, each.memory_bytes)
    staying = [where for model, where in taken.items() if model != need.name and model not in leaving]
    ways = tuple(
        replace(
            way, memory_bytes=way.memory_bytes - sum(size for memory, size in staying if memory == way.memory)
        )
        for way in node.ways
    )
    found = _alone(replace(node, ways=ways), need, fleet)
    own = {way.name: way for way in node.ways}
    return [*planned, *(replace(each, way=own[each.way.name]) for each in found)] if found else []


def _least(node: NodeFacts, need: ModelNeed, fleet: Fleet) -> Sequence[Placed]:
    """With one answer at once, as if nothing else were there."""
    single = replace(node, ways=tuple(replace(way, parallel=1) for way in node.ways))
    return _alone(single, need, fleet)


def _alone(node: NodeFacts, need: ModelNeed, fleet: Fleet) -> Sequence[Placed]:
    wishes = _of_node(fleet.wishes, node)
    found = plan([node], [need], measures=fleet.measures, wishes=wishes, given_up=fleet.given_up)
    return found.placed


def _loads(node: NodeFacts, need: ModelNeed, now: NodeNow) -> bool:
    return any(step.model == need.name and step.move in (Move.LOAD, Move.KEEP) for step in now.steps)


def _drains(now: NodeNow) -> bool:
    return any(step.move is Move.DRAIN for step in now.steps)


def _of_node(wishes: Wishes, node: NodeFacts) -> Wishes:
    """Without copies, and without what is said of other nodes."""
    return Wishes(
        pinned=frozenset(pin for pin in wishes.pinned if pin[0] == node.id),
        never=frozenset(pin for pin in wishes.never if pin[0] == node.id),
        least_tokens_per_second=wishes.least_tokens_per_second,
    )
