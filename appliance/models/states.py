"""The models of the box as people meet them: what each needs, where it is loaded, how long it is kept up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.models.aliases import Alias
from appliance.models.held import HeldModel
from appliance.models.memory import MemoryNeed, memory_need

SHOWN_CONTEXT_TOKENS = 8192
SHOWN_SLOTS = 1


class LifecycleState(StrEnum):
    """Deprecated: it answers, with a warning. Retired: it doesn't."""

    CURRENT = "current"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True)
class ModelState:
    """`need` is for one sequence of at most 8192 tokens; `nodes` are those whose engines hold it now."""

    model: HeldModel
    lifecycle: LifecycleState
    aliases: tuple[str, ...]
    nodes: tuple[str, ...]
    need: MemoryNeed

    @property
    def is_removable(self) -> bool:
        return not (self.model.ships or self.aliases or self.nodes)


def model_states(
    models: Sequence[HeldModel], aliases: Sequence[Alias], serving: Mapping[str, Sequence[str]], *, at: float
) -> list[ModelState]:
    """In the order of `models`. Pure."""
    return [
        ModelState(
            model,
            lifecycle_at(model.deprecated_at, model.retired_at, at),
            tuple(each.alias for each in aliases if each.model == model.name),
            tuple(serving.get(model.name, ())),
            need_of(model),
        )
        for model in models
    ]


def need_of(
    model: HeldModel, context_tokens: int = SHOWN_CONTEXT_TOKENS, slots: int = SHOWN_SLOTS
) -> MemoryNeed:
    """With no more context than the model was trained for."""
    trained = model.facts.context_tokens
    return memory_need(model.facts, min(context_tokens, trained) if trained else context_tokens, slots)


def lifecycle_at(deprecated_at: float | None, retired_at: float | None, at: float) -> LifecycleState:
    if retired_at is not None and at >= retired_at:
        return LifecycleState.RETIRED
    if deprecated_at is not None and at >= deprecated_at:
        return LifecycleState.DEPRECATED
    return LifecycleState.CURRENT
