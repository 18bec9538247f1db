"""Shares what memory is left on each node among its models: more answers at once for each. Pure.

Each model has room for one answer when it comes here; then they take turns, the first placed first. An engine
that runs keeps its number of answers and its context unless it can have half as many more or must have fewer:
each change of them is a restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from appliance.engines.options import Kind
from appliance.placement.contract import ModelNeed, Placed, Running, Wishes
from appliance.placement.options import STILL_READABLE, readable_slots

_WORTH_A_RESTART = 1.5


def grow(
    placed: Sequence[Placed], models: Mapping[str, ModelNeed], wishes: Wishes, running: Sequence[Running]
) -> tuple[Placed, ...]:
    """`placed` with the answers at once that memory, engine and reader allow; ordered by node and model."""
    grown: list[Placed] = []
    for node in sorted({each.node for each in placed}):
        for memory in sorted({each.way.memory for each in placed if each.node == node}):
            there = [each for each in placed if each.node == node and each.way.memory == memory]
            grown += _grow_together(there, models, wishes, running)
    return tuple(sorted(grown, key=lambda each: (each.node, each.model)))


def _grow_together(
    there: Sequence[Placed], models: Mapping[str, ModelNeed], wishes: Wishes, running: Sequence[Running]
) -> list[Placed]:
    limit = min(each.way.memory_bytes for each in there)
    targets = [_target(each, models[each.model], wishes, running) for each in there]
    one = [each.kv_bytes // max(1, each.slots) for each in there]
    slots = [each.slots for each in there]
    left = limit - sum(each.memory_bytes for each in there)
    growing = True
    while growing:
        growing = False
        for index, each in enumerate(there):
            if slots[index] < targets[index] and one[index] <= left and _may_grow(each, models[each.model]):
                slots[index] += 1
                left -= one[index]
                growing = True
    return [
        replace(each, slots=number, kv_bytes=number * bytes_)
        for each, number, bytes_ in zip(there, slots, one, strict=True)
    ]


def _may_grow(placed: Placed, model: ModelNeed) -> bool:
    """Not one whose single answer had to do with a shorter context."""
    limited = placed.way.prompt_tokens > 0
    return model.kind is not Kind.TEXT or limited or placed.context_tokens >= model.context_tokens


def _target(placed: Placed, model: ModelNeed, wishes: Wishes, running: Sequence[Running]) -> int:
    if model.kind is not Kind.TEXT:
        return placed.way.parallel
    most = placed.way.parallel
    target = readable_slots(placed.speed, most, wishes.least_tokens_per_second)
    now = next(
        (
            each
            for each in running
            if (each.node, each.model, each.digest) == (placed.node, placed.model, placed.digest)
            and (each.engine, each.device) == (placed.way.engine, placed.way.device)
        ),
        None,
    )
    if now is None or not 1 <= now.slots <= most:
        return target
    bearable = readable_slots(placed.speed, most, wishes.least_tokens_per_second * STILL_READABLE)
    if now.slots > bearable or target >= now.slots * _WORTH_A_RESTART:
        return target
    return now.slots
