"""From the models that the box holds to what placement asks of them. Pure."""

from collections.abc import Iterable

from appliance.models.held import HeldModel
from appliance.models.openvino_gguf import openvino_reads
from appliance.placement.contract import ModelFiles, ModelNeed

CONTEXT_TOKENS = 8192
"""What one answer should have, where the model was trained for so much."""


def model_needs(models: Iterable[HeldModel]) -> list[ModelNeed]:
    """One each; of two models the one with more parameters is taken for the better."""
    return [_need(model) for model in models]


def _need(model: HeldModel) -> ModelNeed:
    facts = model.facts
    shared = facts.experts_used / facts.experts if facts.experts and facts.experts_used else 1.0
    return ModelNeed(
        name=model.name,
        files=(
            ModelFiles(
                model.digest,
                f"{facts.format}:{facts.quantisation}",
                facts.weights_bytes,
                openvino_reads=openvino_reads(facts, files=len(model.bundle.files)),
            ),
        ),
        facts=facts,
        parameters=float(facts.parameters),
        # attention and embeddings are no experts', but they are the smaller part
        active_parameters=facts.parameters * shared,
        context_tokens=min(facts.context_tokens or CONTEXT_TOKENS, CONTEXT_TOKENS),
        kind=model.kind,
        quality=float(facts.parameters),
        is_demo=model.ships,
    )
