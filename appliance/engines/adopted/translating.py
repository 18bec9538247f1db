"""Between our contract and an adopted server's dialect. Pure: requests and answers as Python values.

Towards the server: its own name of the model stands in for ours, one body for each choice of each prompt,
what only labels a request stays here, and a stream always tells its usage. Towards the asking side: OpenAI's
fields and no others, our name, the usage as the server counted it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from appliance.engines.adopted.servers import Server
from appliance.engines.contract import ChatRequest, CompletionRequest

TextRequest = ChatRequest | CompletionRequest

_LABELS = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "store", "service_tier", "modalities"}
)
_QUOTED_CHARACTERS = 400
_FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
_SEEDS = 2**31
"""Servers keep a seed in 31 bits or more, and some take a negative one for none."""


class BadAnswer(Exception):
    """The server's answer is not what OpenAI's API says."""


# --- towards the server -----------------------------------------------------------------------------


def server_bodies(request: TextRequest, server: Server, model: str) -> list[dict[str, Any]]:
    """One body for each choice of each prompt, in the order of their index; `model` is the server's name."""
    given = request.model_dump(exclude_unset=True, by_alias=True, mode="json")
    body = {name: value for name, value in given.items() if name not in _LABELS}
    body["model"] = model
    for name in ("n", "best_of", "max_tokens", "max_completion_tokens", "stream_options"):
        body.pop(name, None)
    limit = _token_limit(request) or server.chat_tokens
    if limit:
        body[server.tokens_parameter] = limit
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    if isinstance(request, ChatRequest):
        if request.logprobs:
            body["top_logprobs"] = request.top_logprobs or 1  # left out, it is 20 to some
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                call["type"] = "function"
                call["function"]["arguments"] = call["function"]["arguments"] or "{}"
    return [
        {**body, **prompt, **_seed(request.seed, choice)}
        for prompt in _prompts(request)
        for choice in range(request.n)
    ]


def _token_limit(request: TextRequest) -> int | None:
    if isinstance(request, CompletionRequest):
        return request.max_tokens  # OpenAI's default of 16 is few servers' own
    return request.max_completion_tokens or request.max_tokens


def _prompts(request: TextRequest) -> list[dict[str, Any]]:
    if isinstance(request, ChatRequest):
        return [{}]
    given = request.prompt
    if isinstance(given, list) and not isinstance(given[0], int):
        return [{"prompt": one} for one in given]
    return [{"prompt": given}]


def _seed(seed: int | None, choice: int) -> dict[str, int]:
    return {} if seed is None else {"seed": (seed + choice) % _SEEDS}


# --- towards the asking side ------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """What all that is written of one answer shares."""

    id: str
    created: int
    model: str
    is_chat: bool
    top_logprobs: int = 0

    def chunk(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self._object("chat.completion.chunk", choices)

    def usage_chunk(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self.chunk([]), "usage": usage}

    def answer(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._object("chat.completion", choices), "usage": usage}

    def choice(self, given: dict[str, Any], index: int) -> dict[str, Any]:
        """A choice of the server's as ours: its place, and a finish_reason of OpenAI's, not its own words."""
        finish = given.get("finish_reason")
        if finish is not None and finish not in _FINISHES:
            finish = "stop" if finish else None
        logprobs = given.get("logprobs")
        if self.is_chat and isinstance(logprobs, dict):
            logprobs = self._cut(logprobs)
        return {**given, "index": index, "logprobs": logprobs, "finish_reason": finish}

    def _cut(self, logprobs: dict[str, Any]) -> dict[str, Any]:
        content = logprobs.get("content")
        if not isinstance(content, list):
            return logprobs
        tops = [{**one, "top_logprobs": one.get("top_logprobs", [])[: self.top_logprobs]} for one in content]
        return {**logprobs, "content": tops}

    def _object(self, name: str, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        name = name if self.is_chat else "text_completion"
        head = {"id": self.id, "object": name, "created": self.created, "model": self.model}
        return {**head, "choices": list(choices)}


def usage_of(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The exact counts, None where the answer has none that can be believed."""
    given = answer.get("usage")
    if not isinstance(given, dict):
        return None
    read, made = given.get("prompt_tokens"), given.get("completion_tokens", 0)
    if type(read) is not int or type(made) is not int or read < 0 or made < 0:
        return None
    details = given.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return _usage(read, made, cached if type(cached) is int and 0 <= cached <= read else 0)


def usage_together(usages: Sequence[dict[str, Any]], choices_of_prompt: int) -> dict[str, Any]:
    """Each prompt once, the generated tokens of all its choices."""
    firsts = usages[::choices_of_prompt]
    return _usage(
        sum(one["prompt_tokens"] for one in firsts),
        sum(one["completion_tokens"] for one in usages),
        sum(one["prompt_tokens_details"]["cached_tokens"] for one in firsts),
    )


def _usage(read: int, made: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": read,
        "completion_tokens": made,
        "total_tokens": read + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def choices_of(answer: object) -> list[dict[str, Any]]:
    """Raises BadAnswer for one that is an error, or none at all."""
    if not isinstance(answer, dict):
        raise BadAnswer("it is no JSON object")
    if "error" in answer:
        raise BadAnswer(f"it broke off: {quoted(answer)}")
    choices = answer.get("choices")
    return [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []


def quoted(body: object) -> str:
    """The message of an error in any of the shapes that servers use, as a person may read it."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("error_type") or ""
    text = error if isinstance(error, str) else ""
    return "".join(each if each.isprintable() else " " for each in text)[:_QUOTED_CHARACTERS] or "no reason"
