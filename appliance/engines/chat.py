"""POST /v1/chat/completions: messages in, an assistant's message or tool calls out."""

import time
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from appliance.engines.answering import answer_with
from appliance.engines.contract import ChatRequest, JsonObjectFormat, JsonSchemaFormat
from appliance.engines.exchange import Exchange
from appliance.engines.generation import Output
from appliance.engines.json_grammar import ANY_OBJECT, Shape, grammar_of
from appliance.engines.sampling_plan import TokenLogprobs
from appliance.engines.text_engine import TextEngine
from appliance.engines.tool_calls import (
    CalledTool,
    ToolCallSplitter,
    is_forced,
    may_call,
    shape_of_call,
)
from appliance.errors import Refused


class ToolsNotOffered(Refused):
    code: ClassVar[str] = "tools_not_offered"


class ParametersConflict(Refused):
    code: ClassVar[str] = "parameters_conflict"


async def chat_completions(exchange: Exchange, engine: TextEngine) -> None:
    request = await exchange.body_as(ChatRequest)
    engine.check_model_name(request.model)
    if request.tools and not engine.template.knows_tools:
        raise ToolsNotOffered("The chat template of this model knows no tools.", param="tools")
    grammar = _grammar(request)
    rendered = engine.template.render(request)
    prompt = await engine.tokenize(rendered, special=True)
    engine.check_prompt(prompt, "messages")
    generations = engine.generations(
        request,
        prompt,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        grammar=grammar,
    )
    shape = ChatShape(engine, request.n, _splitters(request))
    include_usage = bool(request.stream_options and request.stream_options.include_usage)
    await answer_with(exchange, engine, generations, shape, include_usage=include_usage)


def _splitters(request: ChatRequest) -> list[ToolCallSplitter] | None:
    """One for each choice; None where no tool may be called."""
    if not may_call(request):
        return None
    return [ToolCallSplitter(parallel=request.parallel_tool_calls) for _ in range(request.n)]


def _grammar(request: ChatRequest) -> str | None:
    """What the answer must follow: the caller's grammar, JSON, a call, or one of these two where both are
    offered to the model. Raises ParametersConflict where two would have to be followed."""
    json_shape = _json_shape(request)
    forced = is_forced(request)
    asked = {"grammar": request.grammar, "response_format": json_shape, "tool_choice": forced}
    wanted = [name for name, value in asked.items() if value]
    if len(wanted) > 1:
        raise ParametersConflict(f"{' and '.join(wanted)} can't both shape the answer.", param=min(wanted))
    if (json_shape or forced) and request.stop_strings:
        raise ParametersConflict("A stop string could cut the JSON.", param="stop")
    if forced:
        return grammar_of(shape_of_call(request))
    if json_shape:
        return grammar_of(json_shape, *([shape_of_call(request)] if may_call(request) else []))
    return request.grammar


def _json_shape(request: ChatRequest) -> Shape | None:
    match request.response_format:
        case JsonObjectFormat():
            return Shape(ANY_OBJECT, "response_format")
        case JsonSchemaFormat(json_schema=given):
            return Shape(given.schema_, "response_format")
        case _:
            return None


class ChatShape:
    """Writes chat.completion and chat.completion.chunk objects."""

    def __init__(self, engine: TextEngine, choices: int, splitters: list[ToolCallSplitter] | None) -> None:
        self._vocabulary = engine.vocabulary
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": engine.name}
        self._splitters = splitters
        self._spoken = [False] * choices
        self._calls = [0] * choices
        self._untold: list[tuple[TokenLogprobs, ...]] = [()] * choices
        """Of text that a splitter holds back; they go out with the chunk after it."""

    def chunks(self, choice: int, output: Output) -> Iterable[dict[str, Any]]:
        entries, self._untold[choice] = (*self._untold[choice], *output.logprobs), ()
        logprobs = self._logprobs(entries)
        parts = self._parts(choice, output)
        if not parts and not output.finish:
            self._untold[choice] = entries
        for part in parts:
            delta: dict[str, Any] = {} if self._spoken[choice] else {"role": "assistant"}
            if isinstance(part, str):
                delta["content"] = part
            else:
                delta["tool_calls"] = [{"index": self._calls[choice], **_call(part)}]
                self._calls[choice] += 1
            self._spoken[choice] = True
            yield self._chunk(choice, delta, logprobs, None)
            logprobs = None
        if output.finish:
            delta = {} if self._spoken[choice] else {"role": "assistant", "content": ""}
            yield self._chunk(choice, delta, logprobs, self._finish(choice, output))

    def usage_chunk(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}

    def answer(self, outputs: list[list[Output]], usage: dict[str, Any]) -> dict[str, Any]:
        choices = [self._choice(choice, given) for choice, given in enumerate(outputs)]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage}

    def _choice(self, choice: int, outputs: list[Output]) -> dict[str, Any]:
        parts = [part for output in outputs for part in self._parts(choice, output)]
        text = "".join(part for part in parts if isinstance(part, str))
        calls = [_call(part) for part in parts if isinstance(part, CalledTool)]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or (None if calls else ""),
            "refusal": None,
        }
        if calls:
            message["tool_calls"] = calls
        return {
            "index": choice,
            "message": message,
            "logprobs": self._logprobs(tuple(one for output in outputs for one in output.logprobs)),
            "finish_reason": self._finish(choice, outputs[-1]),
        }

    def _parts(self, choice: int, output: Output) -> list[str | CalledTool]:
        if self._splitters is None:
            return [output.text] if output.text else []
        return self._splitters[choice].push(output.text, last=output.finish is not None)

    def _finish(self, choice: int, output: Output) -> str | None:
        called = self._splitters and self._splitters[choice].calls
        if called and output.finish == "stop":
            return "tool_calls"
        return output.finish

    def _chunk(
        self, choice: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None
    ) -> dict[str, Any]:
        one = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [one]}

    def _logprobs(self, entries: tuple[TokenLogprobs, ...]) -> dict[str, Any] | None:
        if not entries:
            return None
        content = [
            {
                **self._token(entry.token, entry.logprob),
                "top_logprobs": [self._token(token, logprob) for token, logprob in entry.top],
            }
            for entry in entries
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._vocabulary.piece(token)
        return {"token": piece.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(piece)}


def _call(called: CalledTool) -> dict[str, Any]:
    function = {"name": called.name, "arguments": called.arguments}
    return {"id": called.id, "type": "function", "function": function}
