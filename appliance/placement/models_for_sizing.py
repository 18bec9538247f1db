"""The models that a fleet can be sized for before any is imported: shapes from sizing_models.toml.

A cache keeps keys and values of each layer in 16 bits: 2 x layers x heads x width x 2 bytes a token.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import Refused
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
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        kv_bytes_per_token=2 * shape.layers * shape.kv_heads * shape.head_width * 2,
        context_tokens=CONTEXT_TOKENS,
        quality=shape.quality,
    )
