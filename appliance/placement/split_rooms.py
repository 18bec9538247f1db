"""How much memory of a node a split may take, and when its model runs whole instead. Pure.

A split takes what placement leaves. Where an admin insists it takes more: what is there only because room
was left gives way, such as further copies of a model, room for a second answer, the demo. What is pinned
stays, and so does the last copy of each model.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from appliance.placement.contract import ModelNeed, NodeFacts, Placed, Running, Way
from appliance.placement.current import CurrentPlan
from appliance.placement.memory import free_bytes
from appliance.placement.planning import plan
from appliance.placement.splits import Split, lending_way


def room_bytes(
    way: Way,
    node: str,
    placed: Sequence[Placed],
    *,
    is_insisted_on: bool = False,
    pinned: Collection[tuple[str, str]] = (),
    demos: Collection[str] = (),
) -> int:
    """What is left in the way's memory; `placed` is what all nodes should run, `pinned` are (node, model)."""
    there = [each for each in placed if each.node == node and each.way.memory == way.memory]
    limit = min([way.memory_bytes, *(each.way.memory_bytes for each in there)])
    if not is_insisted_on:
        return max(0, limit - sum(each.memory_bytes for each in there))
    return max(0, limit - sum(_least(each, placed, pinned) for each in there if each.model not in demos))


def _least(placed: Placed, all_placed: Sequence[Placed], pinned: Collection[tuple[str, str]]) -> int:
    """Of the copies of a model the first by node stays, so that not each gives way to the other."""
    keeper = min(each.node for each in all_placed if each.model == placed.model)
    if (placed.node, placed.model) not in pinned and placed.node != keeper:
        return 0
    return placed.memory_bytes - placed.kv_bytes + placed.kv_bytes // max(1, placed.slots)


def has_made_room(
    split: Split, nodes: Sequence[NodeFacts], running: Sequence[Running], demos: Collection[str]
) -> bool:
    """Whether what gives way has ended; `nodes` are those without what the split takes.

    The demo is too small to wait for, and on the box it is there in any case.
    """
    return all(
        sum(_memory_taken(node, way, running, demos)) <= way.memory_bytes
        for node in nodes
        if split.bytes_on(node.id) and (way := lending_way(node))
    )


def _memory_taken(
    node: NodeFacts, lending: Way, running: Sequence[Running], demos: Collection[str]
) -> Iterator[int]:
    memories = {(way.engine, way.device): way.memory for way in node.ways}
    for each in running:
        is_there = each.node == node.id and memories.get((each.engine, each.device)) == lending.memory
        if is_there and each.model not in demos:
            yield each.memory_bytes


def runs_whole(current: CurrentPlan, need: ModelNeed, settled: Split | None) -> bool:
    """Whether one node is enough for the model, so that it is split no more.

    A split goes on until the model is ready in one piece elsewhere. It ends before that where both can't be:
    on the box, where both would answer at one address, and where the split's memory is what it takes.
    """
    planned = {each.node: each for each in current.plan.placed if each.model == need.name}
    if settled is None:
        return bool(planned)
    if planned:
        ready = {each.node for each in current.running if each.model == need.name and each.ready}
        return bool(ready & set(planned)) or any(node.is_box and node.id in planned for node in current.nodes)
    nodes = [_as_if_given_back(current, node, settled) for node in current.nodes]
    return bool(plan(nodes, [need], measures=current.measures, wishes=current.wishes).placed)


def _as_if_given_back(current: CurrentPlan, node: NodeFacts, settled: Split) -> NodeFacts:
    lending, there = lending_way(node), current.plan.on(node.id)
    ways = (
        replace(
            way,
            memory_bytes=max(0, free_bytes(way, there))
            + (settled.bytes_on(node.id) if lending and way.memory == lending.memory else 0),
        )
        for way in node.ways
    )
    return replace(node, ways=tuple(ways))
