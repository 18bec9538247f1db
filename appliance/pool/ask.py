"""What a request asks for, checked before any node is troubled.

The body travels to the node byte for byte; only a streamed request whose caller did not ask for its
usage gets `stream_options.include_usage`, so that the ledger knows it, and the relay takes the extra
chunk out again.
"""

from dataclasses import dataclass
from enum import StrEnum

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.errors import Refused

_TOKENS_WHEN_NOT_SAID = 256
_BYTES_A_TOKEN = 4
_PROMPT_TOKENS_A_GENERATED_ONE = 8
"""Reading a prompt is about this much cheaper than generating."""


class Endpoint(StrEnum):
    """The three endpoints that make an engine work; a ledger line names one of them."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"


class InvalidRequest(Refused):
    code = "invalid_request"


@dataclass(frozen=True)
class Ask:
    """One admitted request: what the queue, the route and the relay need of it."""

    endpoint: Endpoint
    model: str
    stream: bool
    body: bytes
    usage_added: bool
    """The usage chunk of the stream is ours and must not reach the client."""
    tokens: float
    """The expected cost, in generated tokens."""


class _StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)
    include_usage: bool = False


class _Envelope(BaseModel):
    model_config = ConfigDict(strict=True)
    model: str = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1, le=128)


def read_ask(endpoint: Endpoint, body: bytes) -> Ask:
    """Reads and checks a request body. Raises InvalidRequest, which names the field."""
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    stream = bool(envelope.stream)
    usage_added = stream and not (envelope.stream_options and envelope.stream_options.include_usage)
    generated = envelope.max_completion_tokens or envelope.max_tokens or _TOKENS_WHEN_NOT_SAID
    tokens = generated * (envelope.n or 1) + len(body) / _BYTES_A_TOKEN / _PROMPT_TOKENS_A_GENERATED_ONE
    if usage_added:
        body = _with_usage(body, rewrite="stream_options" in envelope.model_fields_set)
    return Ask(endpoint, envelope.model, stream, body, usage_added, tokens)


def _with_usage(body: bytes, *, rewrite: bool) -> bytes:
    if rewrite:
        document = orjson.loads(body)
        document["stream_options"] = (document["stream_options"] or {}) | {"include_usage": True}
        return orjson.dumps(document)
    start = body.index(b"{") + 1  # the object is not empty: it has at least a model
    return body[:start] + b'"stream_options":{"include_usage":true},' + body[start:]


def _invalid(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return InvalidRequest(
            f"The body is not valid JSON: {first['msg']}.", next_step="Send one JSON object."
        )
    where = f"'{field}': " if field else ""
    return InvalidRequest(f"{where}{first['msg']}.", next_step="Correct the request.", param=field or None)
