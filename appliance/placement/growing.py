"""Shares what memory is left on each node among its models: more answers at once for each. Pure.

Each model has room for one answer when it comes here; then they take turns, the first placed first. An engine
that runs keeps its number of answers and its context unless it can have half as many more or must have fewer:
each change of them is a restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from appliance.engines.options import Kind
from appliance.placement.contract import ModelNeed, Placed, Running, Wishes
from appliance.placement.memory import room_taken
from appliance.placement.options import STILL_READABLE, readable_slots

_WORTH_A_RESTART = 1.5


def grow(
    placed: Sequence[Placed], models: Mapping[str, ModelNeed], wishes: Wishes, running: Sequence[Running]
) -> tuple[Placed, ...]:
    """`placed` with the answers at once that memory, engine and reader allow; ordered by node and model."""
    spaces: dict[tuple[str, str], list[Placed]] = {}
    for each in placed:
        spaces.setdefault((each.node, each.way.memory), []).append(each)
    grown: list[Placed] = []
    for (node, _), there in sorted(spaces.items(), key=lambda space: space[0]):
        grown += _grow_together(there, models, wishes, [each for each in running if each.node == node])
    return tuple(sorted(grown, key=lambda each: (each.node, each.model)))


def _grow_together(
    there: Sequence[Placed], models: Mapping[str, ModelNeed], wishes: Wishes, running: Sequence[Running]
) -> list[Placed]:
    targets = [_target(each, models[each.model], wishes, running) for each in there]
    # first back to what runs: else two that grow in turn would take room from each other at every plan
    before = [
        min(target, now.slots) if (now := _now(each, running)) and now.slots else each.slots
        for each, target in zip(there, targets, strict=True)
    ]
    return _up_to(targets, _up_to(before, there, models), models)


def _up_to(targets: Sequence[int], there: Sequence[Placed], models: Mapping[str, ModelNeed]) -> list[Placed]:
    """One more answer for each in turn, as far as the memory goes."""
    grown = list(there)
    left = min(each.way.memory_bytes for each in grown) - sum(each.memory_bytes for each in grown)
    growing = True
    while growing:
        growing = False
        for index, (each, target) in enumerate(zip(grown, targets, strict=True)):
            if each.slots >= target or not _may_grow(each, models[each.model]):
                continue
            larger = _with_slots(each, models[each.model], each.slots + 1)
            if larger.memory_bytes - each.memory_bytes <= left:
                grown[index] = larger
                left -= larger.memory_bytes - each.memory_bytes
                growing = True
    return grown


def _with_slots(placed: Placed, model: ModelNeed, slots: int) -> Placed:
    files = next(files for files in model.files if files.digest == placed.digest)
    room = room_taken(model, files, placed.context_tokens, slots)
    return replace(placed, slots=slots, kv_bytes=room.kv_bytes, compute_bytes=room.compute_bytes)


def _may_grow(placed: Placed, model: ModelNeed) -> bool:
    """Not one whose single answer had to do with a shorter context."""
    limited = placed.way.prompt_tokens > 0
    return model.kind is not Kind.TEXT or limited or placed.context_tokens >= model.context_tokens


def _target(placed: Placed, model: ModelNeed, wishes: Wishes, running: Sequence[Running]) -> int:
    if model.kind is not Kind.TEXT:
        return placed.way.parallel
    most = placed.way.parallel
    target = readable_slots(placed.speed, most, wishes.least_tokens_per_second)
    now = _now(placed, running)
    if now is None or not 1 <= now.slots <= most:
        return target
    bearable = readable_slots(placed.speed, most, wishes.least_tokens_per_second * STILL_READABLE)
    comfortable = readable_slots(placed.speed, most, wishes.least_tokens_per_second / STILL_READABLE)
    if now.slots > bearable:
        return target
    if comfortable >= now.slots * _WORTH_A_RESTART:
        return comfortable
    return now.slots


def _now(placed: Placed, running: Sequence[Running]) -> Running | None:
    """The same engine with the same files, as it runs now."""
    wanted = (placed.node, placed.model, placed.digest, placed.way.engine, placed.way.device)
    return next(
        (
            each
            for each in running
            if (each.node, each.model, each.digest, each.engine, each.device) == wanted
        ),
        None,
    )
