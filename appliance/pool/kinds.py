"""Which endpoints a kind of model answers, and what a request for a model of another kind is told. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from appliance.engines.options import Kind
from appliance.errors import Refused


class Endpoint(StrEnum):
    """The endpoints that make an engine work; a ledger line names one of them."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"
    RERANK = "/v1/rerank"
    TRANSCRIPTION = "/v1/audio/transcriptions"
    IMAGES = "/v1/images/generations"


class WrongKind(Refused):
    """The model is for something else."""

    code = "wrong_kind_of_model"


class _Purpose(NamedTuple):
    does: str
    endpoints: tuple[Endpoint, ...]


_PURPOSES: Mapping[Kind, _Purpose] = {
    # llama.cpp's text models embed too; an engine that doesn't says so itself
    Kind.TEXT: _Purpose("writes text", (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS)),
    Kind.EMBEDDINGS: _Purpose("turns texts into vectors", (Endpoint.EMBEDDINGS,)),
    Kind.RERANK: _Purpose("ranks documents by how well they answer a query", (Endpoint.RERANK,)),
    Kind.TRANSCRIPTION: _Purpose("writes down what is said in a sound", (Endpoint.TRANSCRIPTION,)),
    Kind.IMAGES: _Purpose("makes images", (Endpoint.IMAGES,)),
}


def refuse_other_kind(model: str, endpoint: Endpoint, kinds: Mapping[str, Kind]) -> WrongKind | None:
    """The refusal of a request to `endpoint` for a `model` that can't answer it; None where it can.

    `kinds`: of every model that there is now. A model that isn't among them is another step's to refuse.
    """
    kind = kinds.get(model)
    if kind is None or endpoint in _PURPOSES[kind].endpoints:
        return None
    purpose = _PURPOSES[kind]
    fitting = sorted(name for name, other in kinds.items() if endpoint in _PURPOSES[other].endpoints)
    return WrongKind(
        f"The model '{model[:100]}' {purpose.does}: ask it at {', '.join(purpose.endpoints)}.",
        next_step=f"For {endpoint} there is: {', '.join(fitting)}."
        if fitting
        else f"For {endpoint} there is no model here yet.",
        param="model",
    )
