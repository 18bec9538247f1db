"""Between our contract and an adopted server's dialect. Pure: requests and answers as Python values.

Towards the server: what it can't do is refused by name, its own name of the model stands in for ours, what
only labels a request stays here, and a stream always tells its usage. Towards the asking side: OpenAI's
fields and no others, our name, the usage as the server counted it, and its refusals as ours.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from appliance.engines.adopted.servers import Ability, Server
from appliance.engines.contract import (
    ChatRequest,
    CompletionRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    SamplingFields,
)
from appliance.engines.served import ContextLengthExceeded
from appliance.errors import Broken, Refusal, Refused, TryAgain

_LABELS = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "store", "service_tier", "modalities"}
)
_KEPT = ("id", "object", "created", "system_fingerprint")
_QUOTED_CHARACTERS = 400
_FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
_CONTEXT_WORDS = re.compile(
    r"context (length|size|window)|maximum (context|input)"
    r"|exceed\w* .{0,40}(context|token)|too (long|many tokens)",
    re.IGNORECASE,
)


class NotOffered(Refused):
    """The adopted server can't do this, so it is not asked for it."""

    code: ClassVar[str] = "not_offered"


class RefusedByServer(Refused):
    """The adopted server refused this request."""

    code: ClassVar[str] = "refused_by_server"


class ServerBusy(TryAgain):
    code: ClassVar[str] = "engine_busy"


class ServerFailed(TryAgain):
    """It gave no answer that could be passed on; another node may."""

    code: ClassVar[str] = "adopted_server_failed"
    http_status: ClassVar[int] = 502
    openai_type: ClassVar[str] = "server_error"


class KeyNotAccepted(Broken):
    code: ClassVar[str] = "adopted_key_not_accepted"
    http_status: ClassVar[int] = 502


class BadAnswer(Exception):
    """The server's answer is not what OpenAI's API says."""


# --- towards the server -----------------------------------------------------------------------------


def check_offered(request: ChatRequest | CompletionRequest, server: Server) -> None:
    """Raises NotOffered for the first thing asked for that the server can't do."""
    for ability in asked_for(request):
        if ability in server.refuses:
            what = ability.value.replace(":", " of the kind ")
            raise NotOffered(
                f"{server.title}, which answers for this model, can't do {what}.", param=ability.parameter
            )


def asked_for(request: ChatRequest | CompletionRequest) -> Iterator[Ability]:
    """What a request asks for beyond a plain answer."""
    yield from _asked_of_sampling(request)
    if isinstance(request, ChatRequest):
        yield from _asked_of_chat(request)
        return
    yield Ability.PLAIN_COMPLETIONS
    if isinstance(request.prompt, list):
        if not isinstance(request.prompt[0], str):
            yield Ability.TOKEN_PROMPTS
        if not isinstance(request.prompt[0], int) and len(request.prompt) > 1:
            yield Ability.SEVERAL_PROMPTS
    if request.echo:
        yield Ability.ECHO
    if request.suffix is not None:
        yield Ability.SUFFIX
    if request.logprobs is not None:
        yield Ability.PLAIN_LOGPROBS


def _asked_of_sampling(request: SamplingFields) -> Iterator[Ability]:
    asked = {
        Ability.SEVERAL_CHOICES: request.n > 1,
        Ability.LOGIT_BIAS: bool(request.logit_bias),
        Ability.SEED: request.seed is not None,
        Ability.TOP_K: bool(request.top_k),
        Ability.MIN_P: bool(request.min_p),
        Ability.PRESENCE_PENALTY: request.presence_penalty != 0,
        Ability.FREQUENCY_PENALTY: request.frequency_penalty != 0,
        Ability.GRAMMAR: request.grammar is not None,
        Ability.IGNORE_EOS: request.ignore_eos,
    }
    yield from (ability for ability, is_asked in asked.items() if is_asked)


def _asked_of_chat(request: ChatRequest) -> Iterator[Ability]:
    if request.logprobs:
        yield Ability.CHAT_LOGPROBS
    if request.tools:
        yield Ability.TOOLS
        if request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool):
            yield Ability.FORCED_TOOL
        if not request.parallel_tool_calls:
            yield Ability.ONE_TOOL_CALL
    if isinstance(request.response_format, JsonObjectFormat):
        yield Ability.JSON_OBJECT
    if isinstance(request.response_format, JsonSchemaFormat):
        yield Ability.JSON_SCHEMA


def server_body(request: ChatRequest | CompletionRequest, server: Server, model: str) -> dict[str, Any]:
    """The body to send: `model` is the server's own name."""
    given = request.model_dump(exclude_unset=True, by_alias=True, mode="json")
    body = {name: value for name, value in given.items() if name not in _LABELS}
    body["model"] = model
    limit = body.pop("max_completion_tokens", None) or body.pop("max_tokens", None)
    if isinstance(request, CompletionRequest):
        limit = request.max_tokens  # OpenAI's default of 16 is few servers' own
        body.pop("best_of", None)
    else:
        limit = limit or server.chat_tokens
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                call["type"] = "function"
    if limit:
        body[server.tokens_parameter] = limit
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    return body


# --- towards the asking side ------------------------------------------------------------------------


def usage_of(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The exact counts, None where the answer has none that can be believed."""
    given = answer.get("usage")
    if not isinstance(given, dict):
        return None
    read, made = given.get("prompt_tokens"), given.get("completion_tokens", 0)
    if type(read) is not int or type(made) is not int or read < 0 or made < 0:
        return None
    usage: dict[str, Any] = {
        "prompt_tokens": read,
        "completion_tokens": made,
        "total_tokens": read + made,
    }
    details = given.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if type(cached) is int and 0 <= cached <= read:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return usage


def whole_answer(answer: object, name: str) -> dict[str, Any]:
    """The answer as ours. Raises BadAnswer."""
    if not isinstance(answer, dict) or not _choices(answer):
        raise BadAnswer("it has no choices")
    usage = usage_of(answer)
    if usage is None:
        raise BadAnswer("it does not tell its usage")
    choices = [_finished(choice) for choice in _choices(answer)]
    return {**_head(answer, name), "choices": choices, "usage": usage}


def chunk(event: dict[str, Any], name: str) -> dict[str, Any] | None:
    """One event of a stream as ours, without usage; None where it has nothing but that. Raises BadAnswer."""
    if "error" in event:
        raise BadAnswer(f"it broke off: {quoted(event)}")
    choices = _choices(event)
    if not choices:
        return None
    return {**_head(event, name), "choices": [_finished(choice) for choice in choices]}


def usage_chunk(head: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """The last event of a stream that was asked for its usage; `head` is any chunk of ours."""
    kept = {key: value for key, value in head.items() if key != "choices"}
    return {**kept, "choices": [], "usage": usage}


def _head(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {**{key: answer[key] for key in _KEPT if answer.get(key) is not None}, "model": name}


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return []
    return [one for one in choices if isinstance(one, dict)]


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """With a finish_reason of OpenAI's: some servers name the end of text in words of their own."""
    finish = choice.get("finish_reason")
    if finish is not None and finish not in _FINISHES:
        finish = "stop" if finish else None
    return {"logprobs": None, **choice, "finish_reason": finish}


def refusal_of(status: int, body: object, server: Server) -> Refusal:
    """What the server's refusal means to whoever asked us."""
    said = quoted(body)
    if status in (401, 403):
        return KeyNotAccepted(
            f"{server.title} does not accept the key that we have.", next_step="Write its key into the file."
        )
    if status == 429:
        return ServerBusy(f"{server.title} is busy.", retry_after_seconds=2)
    if status >= 500 or status in (404, 408):
        return ServerFailed(f"{server.title} answered {status}: {said}", retry_after_seconds=5)
    if _CONTEXT_WORDS.search(said):
        return ContextLengthExceeded(
            f"{server.title} refused it: {said}", param="messages", next_step="Shorten the prompt."
        )
    return RefusedByServer(f"{server.title} refused it: {said}", param=_param_of(body))


def quoted(body: object) -> str:
    """The message of an error in any of the shapes that servers use, as a person may read it."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("error_type") or ""
    text = error if isinstance(error, str) else ""
    return "".join(each if each.isprintable() else " " for each in text)[:_QUOTED_CHARACTERS] or "no reason"


def _param_of(body: object) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    return param[:100] if isinstance(param, str) and param.isprintable() else None
