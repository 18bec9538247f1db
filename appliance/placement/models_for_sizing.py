"""The models that a fleet can be sized for before any is imported: shapes from sizing_models.toml."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts
from appliance.placement.contract import ModelFiles, ModelNeed

FILE = Path(__file__).with_name("sizing_models.toml")
CONTEXT_TOKENS = 8192
_BITS = {
    "gguf:Q4_K_M": 4.9, "gguf:MXFP4": 4.6, "openvino:int4": 4.5, "openvino:int4-cw": 4.3, "mlx:4bit": 4.5,
    "safetensors:awq": 4.6, "safetensors:fp8": 8.1,
}  # fmt: skip
"""For each weight, scales included, as files of these models have them."""
_USUAL_FORMS = tuple(form for form in _BITS if form != "gguf:MXFP4")


class UnknownModel(Refused):
    """Nothing is known of a model by that name."""

    code = "unknown_sizing_model"


class Shape(BaseModel):
    """One model as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    parameters: float = Field(gt=0)
    active_parameters: float = 0
    layers: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_width: int = Field(gt=0)
    heads: int = Field(gt=0)
    width: int = Field(gt=0)
    feed_forward_width: int = Field(gt=0)
    experts_used: int = 0
    vocabulary: int = Field(gt=0)
    quality: float
    forms: tuple[str, ...] = _USUAL_FORMS
    source: str = Field(pattern=r"^https://")


def sizing_models(names: Iterable[str] = ()) -> tuple[ModelNeed, ...]:
    """Those with the given names, or all, the best first. Raises UnknownModel."""
    shapes = {
        shape.name: shape for shape in map(Shape.model_validate, tomllib.loads(FILE.read_text())["model"])
    }
    wanted = list(names) or list(shapes)
    unknown = [name for name in wanted if name not in shapes]
    if unknown:
        raise UnknownModel(
            f"Nothing is known of the model {', '.join(unknown)}.",
            next_step=f"Known are: {', '.join(shapes)}.",
        )
    found = [_need(shapes[name]) for name in dict.fromkeys(wanted)]
    return tuple(sorted(found, key=lambda model: (-model.quality, model.name)))


def _need(shape: Shape) -> ModelNeed:
    files = tuple(
        ModelFiles(f"{shape.name}/{form}", form, int(shape.parameters * _BITS[form] / 8))
        for form in shape.forms
    )
    return ModelNeed(
        name=shape.name,
        files=files,
        facts=_facts(shape),
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        context_tokens=CONTEXT_TOKENS,
        quality=shape.quality,
    )


def _facts(shape: Shape) -> ModelFacts:
    """What its files would say; weights and quantisation are each form's own."""
    return ModelFacts(
        format=ModelFormat.GGUF,
        kind=Kind.TEXT,
        architecture="",
        parameters=int(shape.parameters),
        quantisation="",
        weights_bytes=0,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=(shape.kv_heads,) * shape.layers,
        key_length=shape.head_width,
        value_length=shape.head_width,
        embedding_width=shape.width,
        feed_forward_width=shape.feed_forward_width,
        vocabulary=shape.vocabulary,
        experts_used=shape.experts_used,
    )
