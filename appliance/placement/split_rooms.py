"""How much memory of a node a split may take: what placement leaves, or more where an admin insists. Pure.

Where he does, what is there only because room was left gives way: further copies of a model, room for a
second answer, the demo. What is pinned stays, and so does the last copy of each model.
"""

from collections.abc import Collection, Iterator, Sequence

from appliance.placement.contract import NodeFacts, Placed, Running, Way
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
    return placed.weights_bytes + placed.kv_bytes // max(1, placed.slots)


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
