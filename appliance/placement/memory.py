"""How much memory a model takes, how many answers fit beside it, and where the space is. Pure.

A model takes its weights, for each answer a cache of its context, and room to compute, by the arithmetic of
models.memory. The memory of a way is one space that all its models share: together they never take more than
the narrowest of their ways allows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from appliance.engines.options import Kind
from appliance.hardware.profile import EngineName
from appliance.hardware.profile import Kind as Accelerator
from appliance.models.memory import cache_and_compute_bytes
from appliance.models.openvino_gguf import MEMORY_FOR_A_BYTE
from appliance.placement.contract import LEAST_CONTEXT_TOKENS, ModelFiles, ModelNeed, Placed, Way

GIB = 2**30


@dataclass(frozen=True)
class Room:
    """What an engine would have: so many answers of so much context."""

    slots: int
    context_tokens: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


def free_bytes(way: Way, placed: Iterable[Placed]) -> int:
    """What is left on a node for one more engine on `way`; `placed` are those of that node."""
    there = [each for each in placed if each.way.memory == way.memory]
    limit = min([way.memory_bytes, *(each.way.memory_bytes for each in there)])
    return limit - sum(each.memory_bytes for each in there)


def room_taken(model: ModelNeed, files: ModelFiles, context_tokens: int, slots: int) -> Room:
    """What so many answers of so much context take."""
    cache, compute = cache_and_compute_bytes(model.facts, context_tokens, slots)
    return Room(slots, context_tokens, files.weights_bytes, cache, compute)


def room_for_one(model: ModelNeed, files: ModelFiles, free: int) -> Room | None:
    """For one answer in `free` bytes: with the wanted context, or with as much as there is room for.

    None where even the least context doesn't fit.
    """
    wanted = max(1, model.context_tokens)
    whole = room_taken(model, files, wanted, 1)
    if whole.memory_bytes <= free:
        return whole
    least = room_taken(model, files, least_context(model), 1)
    if least.memory_bytes > free:
        return None
    fits, too_much = least.context_tokens, wanted
    while too_much - fits > 1:
        tried = (fits + too_much) // 2
        if room_taken(model, files, tried, 1).memory_bytes <= free:
            fits = tried
        else:
            too_much = tried
    return room_taken(model, files, fits, 1)


def least_context(model: ModelNeed) -> int:
    """Only an answer can do with less than is wanted."""
    wanted = max(1, model.context_tokens)
    return min(LEAST_CONTEXT_TOKENS, wanted) if model.kind is Kind.TEXT else wanted


def least_bytes(model: ModelNeed, files: ModelFiles) -> int:
    """The least that it can be placed in."""
    return room_taken(model, files, least_context(model), 1).memory_bytes


def as_loaded(files: ModelFiles, engine: EngineName) -> ModelFiles:
    """With the size of what the engine makes of them in memory."""
    if not is_foreign(files, engine):
        return files
    return replace(files, weights_bytes=int(files.weights_bytes * MEMORY_FOR_A_BYTE))


def is_foreign(files: ModelFiles, engine: EngineName) -> bool:
    """Whether the engine makes a form of its own of the files when it loads them."""
    return engine is EngineName.OPENVINO and files.format.startswith("gguf:")


def usable_files(model: ModelNeed, way: Way) -> Sequence[ModelFiles]:
    """The forms of a model that `way` can run, the best first."""
    found = [(order, files) for files in model.files if (order := _order(files, way)) is not None]
    return [files for _, files in sorted(found, key=lambda pair: (pair[0], pair[1].digest))]


def _order(files: ModelFiles, way: Way) -> int | None:
    form = files.format
    if form in way.formats:
        return way.formats.index(form)
    # an NPU runs only weights that were made for it; the others run any form of their family
    if way.accelerator is Accelerator.NPU:
        return None
    if way.engine is EngineName.LLAMA_CPP and form.startswith("gguf:"):
        return len(way.formats)
    if way.engine is EngineName.OPENVINO and form.startswith("openvino:"):
        return len(way.formats)
    return len(way.formats) + 1 if way.engine is EngineName.OPENVINO and files.openvino_reads else None
