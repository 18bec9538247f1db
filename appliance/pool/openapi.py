"""What /openapi.json serves: OpenAPI 3.1 of /v1, made from the models that check the requests.

What a request may contain is said once, in the engines' contract; here stand the paths, the answers and
the refusals around it.
"""

from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from appliance import VERSION
from appliance.pool.ask import BODIES
from appliance.pool.kinds import Endpoint

_JSON = "application/json"
_FORM = "multipart/form-data"


class Error(BaseModel):
    """What went wrong, and what to do next."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every refusal has this body."""

    error: Error


class Model(BaseModel):
    """One model that can answer now."""

    id: str
    object: str
    created: int
    owned_by: str
    demo: bool = False
    description: str = ""
    kind: str = "text"
    """What it is for: text, embeddings, rerank, transcription or images."""
    context_tokens: int = 0
    loaded: bool = True
    """False: it lies on the box, and the first request for it waits until a node has loaded it."""
    alias_of: str = ""
    """The model that answers to this name."""


class ModelList(BaseModel):
    """The models that can answer now."""

    object: str
    data: list[Model]


_REFUSALS = {
    "400": "The body is not valid: the message names the field.",
    "401": "No key, or an unknown, expired or revoked one.",
    "403": "The key is known but may not do this.",
    "404": "No such model; the message lists those there are.",
    "405": "The path takes another method.",
    "410": "The model is retired; the message names its successor.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "429": "Too many requests for this key, or the queue is full; retry-after says when to come again.",
    "502": "The node's refusal could not be understood.",
    "503": "No node can answer now; retry-after says when to come again.",
}
_SUMMARIES = {
    Endpoint.CHAT: "Answer a conversation",
    Endpoint.COMPLETIONS: "Continue a text",
    Endpoint.EMBEDDINGS: "Turn texts into vectors",
    Endpoint.RERANK: "Rank documents by how well they answer a query",
    Endpoint.TRANSCRIPTION: "Write down what is said in a sound",
    Endpoint.IMAGES: "Make images of a description",
}

_EVERY_ANSWER_HAS = {
    Endpoint.CHAT: "object",
    Endpoint.COMPLETIONS: "object",
    Endpoint.EMBEDDINGS: "object",
    Endpoint.RERANK: "results",
    Endpoint.TRANSCRIPTION: "text",
    Endpoint.IMAGES: "data",
}


@cache
def description() -> bytes:
    """The whole document as JSON."""
    models: list[type[BaseModel]] = [*BODIES.values(), ErrorBody, ModelList, Model]
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {str(endpoint): {"post": _inference(endpoint)} for endpoint in Endpoint}
    paths["/v1/models"] = {"get": _reading("list_models", "The models that can answer now", "ModelList")}
    paths["/v1/models/{model}"] = {
        "get": _reading("get_model", "One model", "Model"),
        "parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
    }
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Cellule",
                "version": VERSION,
                "description": "The OpenAI-compatible API of this box. Nothing leaves the building.",
            },
            "paths": paths,
            "components": {
                "schemas": schemas["$defs"],
                "responses": {status: _refusal(text) for status, text in _REFUSALS.items()},
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "description": "An API key: sk-cellule-…"},
                    "session": {
                        "type": "apiKey",
                        "in": "cookie",
                        "name": "cellule_session",
                        "description": "Who is signed in, from the box's own pages only.",
                    },
                },
            },
            "security": [{"key": []}, {"session": []}],
        }
    )


def _inference(endpoint: Endpoint) -> dict[str, Any]:
    request = {
        _FORM if endpoint is Endpoint.TRANSCRIPTION else _JSON: {"schema": _ref(BODIES[endpoint].__name__)}
    }
    return {
        "operationId": endpoint.name.lower(),
        "summary": _SUMMARIES[endpoint],
        "requestBody": {"required": True, "content": request},
        "responses": {
            "200": {"description": "The answer", "content": _answers(endpoint)},
            **_refusals(_REFUSALS),
        },
    }


def _answers(endpoint: Endpoint) -> dict[str, Any]:
    """By media type; what every answer of that endpoint has."""
    text = {"schema": {"type": "string"}}
    json: dict[str, Any] = {"type": "object", "required": [_EVERY_ANSWER_HAS[endpoint]]}
    answers: dict[str, Any] = {_JSON: {"schema": json}}
    if endpoint in (Endpoint.CHAT, Endpoint.COMPLETIONS):
        answers["text/event-stream"] = text
    if endpoint is Endpoint.TRANSCRIPTION:
        answers |= {"text/plain": text, "text/vtt": text}
    return answers


def _reading(operation: str, summary: str, schema: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {_JSON: {"schema": _ref(schema)}}}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": answer, **_refusals(("401", "403", "404", "405"))},
    }


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _refusals(statuses: "dict[str, str] | tuple[str, ...]") -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": _ref("ErrorBody")}}}
