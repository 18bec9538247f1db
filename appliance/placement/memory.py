"""How much memory a model takes, how many answers fit beside it, and where the space is. Pure.

A model takes its weights, working space, and for each answer a cache of its context. The memory of a way is
one space that all its models share: together they never take more than the narrowest of their ways allows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.engines.options import Kind
from appliance.hardware.profile import EngineName
from appliance.hardware.profile import Kind as Accelerator
from appliance.placement.contract import LEAST_CONTEXT_TOKENS, ModelFiles, ModelNeed, Placed, Way

_WORKING_SHARE = 0.03
_WORKING_BYTES = 64 * 2**20
"""What an engine takes beside weights and cache: buffers of its graph, which grow with the model."""
GIB = 2**30


@dataclass(frozen=True)
class Room:
    """What an engine would have: so many answers of so much context."""

    slots: int
    context_tokens: int
    weights_bytes: int
    kv_bytes: int

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes


def free_bytes(way: Way, placed: Iterable[Placed]) -> int:
    """What is left on a node for one more engine on `way`; `placed` are those of that node."""
    there = [each for each in placed if each.way.memory == way.memory]
    limit = min([way.memory_bytes, *(each.way.memory_bytes for each in there)])
    return limit - sum(each.memory_bytes for each in there)


def room_for(model: ModelNeed, files: ModelFiles, way: Way, free: int, most_slots: int) -> Room | None:
    """The largest room in `free` bytes: first the whole context, then as many answers at once as fit.

    Less than the wanted context only where not even one answer of it fits; None where nothing does.
    """
    weights = with_working_space(files.weights_bytes)
    left = free - weights
    if left < 0:
        return None
    if model.kind is not Kind.TEXT or not model.kv_bytes_per_token:
        return Room(max(1, most_slots), model.context_tokens, weights, 0)
    wanted = max(1, model.context_tokens)
    one = wanted * model.kv_bytes_per_token
    if left >= one:
        slots = max(1, min(most_slots, left // one))
        return Room(slots, wanted, weights, slots * one)
    context = left // model.kv_bytes_per_token
    if context < min(LEAST_CONTEXT_TOKENS, wanted):
        return None
    return Room(1, context, weights, context * model.kv_bytes_per_token)


def least_bytes(model: ModelNeed, files: ModelFiles) -> int:
    """The least that it can be placed in."""
    context = min(LEAST_CONTEXT_TOKENS, max(1, model.context_tokens)) if model.kind is Kind.TEXT else 0
    return with_working_space(files.weights_bytes) + context * model.kv_bytes_per_token


def with_working_space(weights_bytes: int) -> int:
    return int(weights_bytes * (1 + _WORKING_SHARE)) + _WORKING_BYTES


def usable_files(model: ModelNeed, way: Way) -> Sequence[ModelFiles]:
    """The forms of a model that `way` can run, the best first."""
    found = [(order, files) for files in model.files if (order := _order(files.format, way)) is not None]
    return [files for _, files in sorted(found, key=lambda pair: (pair[0], pair[1].digest))]


def _order(form: str, way: Way) -> int | None:
    if form in way.formats:
        return way.formats.index(form)
    # an NPU runs only weights that were made for it; the others run any form of their family
    if way.accelerator is Accelerator.NPU:
        return None
    if way.engine is EngineName.LLAMA_CPP and form.startswith("gguf:"):
        return len(way.formats)
    if way.engine is EngineName.OPENVINO and form.startswith("openvino:"):
        return len(way.formats)
    return None
