"""What a request asks for, checked before any node is troubled.

The body travels to the node byte for byte; only a streamed request whose caller did not ask for its
usage gets `stream_options.include_usage`, so that the ledger knows it, and the relay takes the extra
chunk out again.
"""

from typing import Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import from_json

from appliance.engines.contract import ChatRequest, CompletionRequest, EmbeddingRequest
from appliance.engines.kinds_contract import ImageRequest, RerankRequest, TranscriptionRequest
from appliance.engines.transcription_form import read_transcription
from appliance.engines.wrong_body import first_wrong
from appliance.errors import Refused
from appliance.forms import read_form, write_form
from appliance.pool.kinds import Endpoint

_TOKENS_WHEN_NOT_SAID = 256
_MOST_TOKENS = 100_000
_BYTES_A_TOKEN = 4
_CHARACTERS_A_TOKEN = 8
"""More than any text has on average: a prompt is not called too long that isn't."""
_PROMPT_TOKENS_A_GENERATED_ONE = 8
"""Reading a prompt is about this much cheaper than generating."""
_SOUND_BYTES_A_TOKEN = 2_000
"""Of sound as people send it; a guess that only has to tell long from short."""
_TOKENS_AN_IMAGE = 4_096


BODIES: dict[Endpoint, type[BaseModel]] = {
    Endpoint.CHAT: ChatRequest,
    Endpoint.COMPLETIONS: CompletionRequest,
    Endpoint.EMBEDDINGS: EmbeddingRequest,
    Endpoint.RERANK: RerankRequest,
    Endpoint.TRANSCRIPTION: TranscriptionRequest,
    Endpoint.IMAGES: ImageRequest,
}


class InvalidRequest(Refused):
    code = "invalid_request"


class Ask(NamedTuple):
    """One admitted request: what the queue, the route and the relay need of it."""

    endpoint: Endpoint
    model: str
    stream: bool
    body: bytes
    usage_added: bool
    """The usage chunk of the stream is ours and must not reach the client."""
    tokens: float
    """The expected cost, in generated tokens."""
    prompt_tokens: int = 0
    """About how long the prompt is: rather less than it really has."""
    refused_by: frozenset[str] = frozenset()
    """Ids of nodes whose engine does not take this prompt."""
    content_type: bytes = b"application/json"
    """Of the body; a form's names its boundary."""
    alias: str = ""
    """By which the model was asked for."""


class _PlainMessage(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "user", "assistant"]
    content: str


_PLAIN_FIELDS = ("model", "stream", "temperature", "top_p", "max_tokens", "seed", "n")
_PlainChat: Any = create_model(  # type: ignore[call-overload]  # it can not follow the fields
    "_PlainChat",
    __config__=ConfigDict(extra="forbid", strict=True),
    messages=(list[_PlainMessage], Field(min_length=1, fail_fast=True)),
    **{
        name: (ChatRequest.model_fields[name].annotation, ChatRequest.model_fields[name])
        for name in _PLAIN_FIELDS
    },
)
"""The most common part of ChatRequest, with its own rules: checked in a third of the time."""


def _checked(endpoint: Endpoint, body: bytes) -> Any:  # noqa: ANN401 one of BODIES, or _PlainChat
    if endpoint is Endpoint.CHAT:
        try:
            return _PlainChat.model_validate_json(body)
        except ValidationError:
            pass  # not plain: the whole check decides, and says what is wrong
    try:
        return BODIES[endpoint].model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error, body) from None


def read_ask(endpoint: Endpoint, body: bytes) -> Ask:
    """Reads and checks a request body. Raises InvalidRequest, which names the field."""
    request = _checked(endpoint, body)
    reading = len(body) / _BYTES_A_TOKEN / _PROMPT_TOKENS_A_GENERATED_ONE
    if endpoint in (Endpoint.EMBEDDINGS, Endpoint.RERANK):
        return Ask(endpoint, request.model, False, body, False, reading)
    if isinstance(request, ImageRequest):
        return Ask(endpoint, request.model, False, body, False, float(_TOKENS_AN_IMAGE * request.n))
    prompt_tokens = _prompt_tokens(request)
    generated = request.max_tokens
    options = None
    if not isinstance(request, _PlainChat):
        options = request.stream_options
        generated = getattr(request, "max_completion_tokens", None) or generated
    usage_added = request.stream and not (options and options.include_usage)
    if usage_added:
        body = _with_usage(body, says_options=not isinstance(request, _PlainChat))
    tokens = min(generated or _TOKENS_WHEN_NOT_SAID, _MOST_TOKENS) * request.n + reading
    return Ask(endpoint, request.model, request.stream, body, usage_added, tokens, prompt_tokens)


def _prompt_tokens(request: Any) -> int:  # noqa: ANN401 one of BODIES, or _PlainChat
    """Of the longest prompt: token ids counted, text by its characters. Tools and markup come on top."""
    if isinstance(request, CompletionRequest):
        prompts = request.prompt
        if isinstance(prompts, str) or not isinstance(prompts[0], str | list):
            return _length(prompts)
        return max(_length(one) for one in prompts if not isinstance(one, int))
    characters = sum(
        len(content) if isinstance(content, str) else sum(len(part.text) for part in content)
        for message in request.messages
        if (content := message.content)
    )
    return characters // _CHARACTERS_A_TOKEN


def _length(prompt: str | list[str] | list[int] | list[list[int]]) -> int:
    return len(prompt) // _CHARACTERS_A_TOKEN if isinstance(prompt, str) else len(prompt)


def read_sound_ask(content_type: bytes, body: bytes) -> Ask:
    """Reads and checks a transcription's form, which travels on as it is. Takes milliseconds for a large one.

    Raises InvalidRequest and NotAForm.
    """
    try:
        request = read_transcription(content_type, body)
    except ValidationError as error:
        raise _invalid(error, None) from None
    cost = len(request.file) / _SOUND_BYTES_A_TOKEN
    return Ask(Endpoint.TRANSCRIPTION, request.model, False, body, False, cost, content_type=content_type)


def for_model(ask: Ask, model: str) -> Ask:
    """The same request for the model that its alias stands for. Raises InvalidRequest."""
    if ask.endpoint is Endpoint.TRANSCRIPTION:
        parts = read_form(ask.content_type, ask.body)
        renamed = [(name, model.encode() if name == "model" else value) for name, value in parts]
        content_type, body = write_form(renamed)
        return ask._replace(model=model, body=body, content_type=content_type, alias=ask.model)
    document = _document(ask.body)
    document["model"] = model
    return ask._replace(model=model, body=orjson.dumps(document), alias=ask.model)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # stricter than the check before: NaN, for one
        raise InvalidRequest(f"The body is not valid JSON: {error.msg}.") from None
    return document


def _with_usage(body: bytes, *, says_options: bool) -> bytes:
    """`says_options`: whether it may name stream_options, which JSON can write in several ways."""
    if says_options:
        document = _document(body)
        document["stream_options"] = (document.get("stream_options") or {}) | {"include_usage": True}
        return orjson.dumps(document)
    start = body.index(b"{") + 1  # the object is not empty: it has at least a model
    return body[:start] + b'"stream_options":{"include_usage":true},' + body[start:]


def _invalid(error: ValidationError, body: bytes | None) -> InvalidRequest:
    """`body` is JSON, None where it was a form."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return InvalidRequest(
            f"The body is not valid JSON: {first['msg']}.", next_step="Send one JSON object."
        )
    wrong = first_wrong(error, None if body is None else from_json(body))
    return InvalidRequest(wrong.sentence, next_step="Correct the request.", param=wrong.param)
