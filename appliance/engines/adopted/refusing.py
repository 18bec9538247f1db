"""What is refused before an adopted server is asked, and what its own refusals mean. Pure."""

import re
from collections.abc import Iterator
from typing import ClassVar

from appliance.engines.adopted.servers import Ability, Server
from appliance.engines.adopted.target import Target
from appliance.engines.adopted.translating import TextRequest, quoted
from appliance.engines.chat import ParametersConflict
from appliance.engines.chat_template import arguments_of
from appliance.engines.contract import (
    AssistantMessage,
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    NamedTool,
    SamplingFields,
)
from appliance.engines.json_grammar import grammar_of_schema
from appliance.engines.served import (
    ContextLengthExceeded,
    EngineBusy,
    ParameterNotOffered,
    PromptEmpty,
    TokenUnknown,
)
from appliance.engines.tool_calls import ToolUnknown
from appliance.errors import Broken, Refusal, Refused, TryAgain

_CONTEXT_WORDS = re.compile(
    r"context (length|size|window)|maximum (context|input)"
    r"|exceed\w* .{0,40}(context|token)|too (long|many tokens)",
    re.IGNORECASE,
)
_WORDS = {"response_format": ("schema", "response_format", "json"), "tools": ("tool",)}
"""By which words of a server's sentence it is known which parameter it means, where not by its name."""


class RefusedByServer(Refused):
    """The adopted server refused this request."""

    code: ClassVar[str] = "refused_by_server"


class ServerFailed(TryAgain):
    """It gave no answer that could be passed on; another node may."""

    code: ClassVar[str] = "adopted_server_failed"
    http_status: ClassVar[int] = 502
    openai_type: ClassVar[str] = "server_error"


class KeyNotAccepted(Broken):
    code: ClassVar[str] = "adopted_key_not_accepted"
    http_status: ClassVar[int] = 502


def check_request(request: TextRequest, target: Target) -> None:
    """Raises the refusal of the first thing that can't be."""
    server, vocabulary = target.server, target.vocabulary
    for ability in asked_for(request):
        if ability in server.refuses or ability in target.cannot:
            what = ability.value.replace(":", " of the kind ")
            raise ParameterNotOffered(
                f"{server.title}, which answers for this model, can't do {what}.", param=ability.parameter
            )
    for token in request.logit_bias:
        if _beyond(int(token), vocabulary):
            raise TokenUnknown(f"{token[:20]!r} is no token id of this model.", param="logit_bias")
    if isinstance(request, ChatRequest):
        _check_chat(request)
    else:
        _check_prompts(request.prompt, vocabulary)
    if server.cuts_prompts and target.context_tokens and target.characters_per_token:
        _check_length(request, target)


def _check_length(request: TextRequest, target: Target) -> None:
    """By the fixed prompts' own measure, for this server would cut a longer prompt without a word."""
    if isinstance(request, ChatRequest):
        param, text = "messages", "".join(map(_message_text, request.messages))
    else:
        param, text = (
            "prompt",
            request.prompt if isinstance(request.prompt, str) else "".join(map(str, request.prompt)),
        )
    tokens = round(len(text) / target.characters_per_token)
    if tokens >= target.context_tokens:
        raise ContextLengthExceeded(
            f"The prompt has about {tokens} tokens; the context of this model has {target.context_tokens}.",
            param=param,
            next_step="Shorten the prompt.",
        )


def _message_text(message: Message) -> str:
    content = message.content
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content or ""


def _check_prompts(given: object, vocabulary: int) -> None:
    prompts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    for prompt in prompts:
        if not prompt:
            raise PromptEmpty("The prompt has no token.", param="prompt")
        if isinstance(prompt, list) and any(_beyond(token, vocabulary) for token in prompt):
            raise TokenUnknown(f"A token id is beyond the vocabulary of {vocabulary}.", param="prompt")


def _beyond(token: int, vocabulary: int) -> bool:
    return bool(vocabulary) and token >= vocabulary


def _check_chat(request: ChatRequest) -> None:
    for message in request.messages:
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls:
                arguments_of(call.function.arguments)  # llama-server calls what is no JSON its own failure
    choice = request.tool_choice
    is_json = isinstance(request.response_format, JsonObjectFormat | JsonSchemaFormat)
    is_forced = choice == "required" or isinstance(choice, NamedTool)
    if isinstance(choice, NamedTool):
        wanted = choice.function.name
        if wanted not in {tool.function.name for tool in request.tools}:
            raise ToolUnknown(
                f"tool_choice names {wanted!r}, which is not among the tools.", param="tool_choice"
            )
    if isinstance(request.response_format, JsonSchemaFormat):
        # the same schemas on every node, and none of which a server would pass over a part
        grammar_of_schema(request.response_format.json_schema.schema_, "response_format")
    shaping = [("grammar", request.grammar), ("response_format", is_json), ("tool_choice", is_forced)]
    shapes = [name for name, asked in shaping if asked]
    if len(shapes) > 1:
        raise ParametersConflict(f"{' and '.join(shapes)} can't both shape the answer.", param=min(shapes))
    if (is_json or is_forced) and request.stop_strings:
        raise ParametersConflict("A stop string could cut the JSON.", param="stop")


def asked_for(request: TextRequest) -> Iterator[Ability]:
    """What a request asks for beyond a plain answer."""
    yield from _asked_of_sampling(request)
    if isinstance(request, ChatRequest):
        yield from _asked_of_chat(request)
        return
    yield Ability.PLAIN_COMPLETIONS
    first = request.prompt[0] if isinstance(request.prompt, list) else request.prompt
    if not isinstance(first, str):
        yield Ability.TOKEN_PROMPTS
    if request.echo:
        yield Ability.ECHO
    if request.suffix is not None:
        yield Ability.SUFFIX
    if request.logprobs is not None:
        yield Ability.PLAIN_LOGPROBS


def _asked_of_sampling(request: SamplingFields) -> Iterator[Ability]:
    asked = {
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
        if isinstance(request.tool_choice, NamedTool):
            yield Ability.NAMED_TOOL
        yield Ability.TOOLS
        if request.tool_choice == "required":
            yield Ability.REQUIRED_TOOL
        if not request.parallel_tool_calls:
            yield Ability.ONE_TOOL_CALL
    if isinstance(request.messages[-1], AssistantMessage):
        yield Ability.ANSWER_AFTER_ANSWER
    if isinstance(request.response_format, JsonObjectFormat):
        yield Ability.JSON_OBJECT
    if isinstance(request.response_format, JsonSchemaFormat):
        yield Ability.JSON_SCHEMA


def refusal_of(status: int, body: object, server: Server, request: TextRequest) -> Refusal:
    """What the server's refusal means to whoever asked us."""
    said = quoted(body)
    if status in (401, 403):
        return KeyNotAccepted(
            f"{server.title} does not accept the key that we have.", next_step="Write its key into the file."
        )
    if status == 429:
        return EngineBusy(f"{server.title} is busy.", retry_after_seconds=2)
    if status >= 500 or status in (404, 408):
        return ServerFailed(f"{server.title} answered {status}: {said}", retry_after_seconds=5)
    if _CONTEXT_WORDS.search(said):
        param = "messages" if isinstance(request, ChatRequest) else "prompt"
        return ContextLengthExceeded(
            f"{server.title} refused it: {said}", param=param, next_step="Shorten the prompt."
        )
    return RefusedByServer(f"{server.title} refused it: {said}", param=_param_of(body, said, request))


def _param_of(body: object, said: str, request: TextRequest) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    if isinstance(param, str) and param.isprintable():
        return param[:100]
    asked = [ability.parameter for ability in asked_for(request)]
    return next(
        (name for name in asked if any(word in said.casefold() for word in _WORDS.get(name, (name,)))), None
    )
