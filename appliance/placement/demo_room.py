"""The memory that the box's own demo engine takes: it is always there, and no plan may give its room away.

The box starts it as a service of its own, and never ends it for another model, as workers do with theirs: the
plan is made of what is left, and does not place it.
"""

from collections.abc import Iterable, Sequence

from appliance.models.demo import DEMO_MODEL_NAME
from appliance.placement.contract import ModelNeed, NodeFacts, Running
from appliance.placement.memory import room_taken
from appliance.placement.splits import without_memory
from appliance.settings import BOX_NODE

_SLOTS = 8
"""With which the box starts it (cellule-engine@.service), until it says so itself."""


def beside_demo(
    nodes: Iterable[NodeFacts], models: Iterable[ModelNeed], running: Sequence[Running]
) -> tuple[NodeFacts, ...]:
    """The nodes, the box without the memory that its demo takes where it computes: on the processor."""
    taken = sum(_taken_bytes(model, running) for model in models if model.is_demo)
    return tuple(without_memory(node, taken) if node.is_box else node for node in nodes)


def _taken_bytes(model: ModelNeed, running: Sequence[Running]) -> int:
    said = [each.memory_bytes for each in running if (each.node, each.model) == (BOX_NODE, model.name)]
    return (
        max(said, default=0) or room_taken(model, model.files[0], model.context_tokens, _SLOTS).memory_bytes
    )


def without_own_demo(running: Iterable[Running]) -> list[Running]:
    """What runs and is placement's to keep or end: not the box's own demo."""
    return [each for each in running if (each.node, each.model) != (BOX_NODE, DEMO_MODEL_NAME)]
