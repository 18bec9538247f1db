"""POST /v1/completions: a text or token ids in, their continuation out."""

import time
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from appliance.engines.answering import answer_with
from appliance.engines.contract import CompletionRequest
from appliance.engines.exchange import Exchange
from appliance.engines.generation import GenerationRequest, Output
from appliance.engines.text_engine import TextEngine
from appliance.errors import Refused


class SuffixNotOffered(Refused):
    code: ClassVar[str] = "suffix_not_offered"


async def completions(exchange: Exchange, engine: TextEngine) -> None:
    request = await exchange.body_as(CompletionRequest)
    engine.check_model_name(request.model)
    generations: list[GenerationRequest] = []
    echoes: list[str] = []
    for prompt in await prompts_of(request.prompt, engine):
        tokens = await _between(prompt, request.suffix, engine)
        engine.check_prompt(tokens, "prompt")
        generations += engine.generations(
            request,
            tokens,
            max_tokens=request.max_tokens,
            top_logprobs=request.logprobs,
            grammar=request.grammar,
        )
        echoed = prompt if request.echo else []
        echo = b"".join(map(engine.vocabulary.piece, echoed)).decode("utf-8", "replace")
        echoes += [echo] * request.n
    shape = CompletionShape(engine, echoes)
    include_usage = bool(request.stream_options and request.stream_options.include_usage)
    await answer_with(exchange, engine, generations, shape, include_usage=include_usage)


async def prompts_of(
    given: str | list[str] | list[int] | list[list[int]], engine: TextEngine
) -> list[list[int]]:
    """Each prompt as token ids; texts get the model's begin token where it wants one."""
    if isinstance(given, str):
        return [await engine.tokenize(given, special=False, begin=True)]
    prompts: list[list[int]] = []
    for one in given:
        if isinstance(one, int):
            return [[token for token in given if isinstance(token, int)]]
        prompts.append(await engine.tokenize(one, special=False, begin=True) if isinstance(one, str) else one)
    return prompts


async def _between(prompt: list[int], suffix: str | None, engine: TextEngine) -> list[int]:
    """The prompt that asks for what stands between prompt and suffix, for a model trained on that."""
    if suffix is None:
        return prompt
    marks = engine.vocabulary.fill_in_tokens
    if marks is None:
        raise SuffixNotOffered("This model was not trained to fill in before a suffix.", param="suffix")
    before, after, middle = marks
    return [before, *prompt, after, *await engine.tokenize(suffix, special=False), middle]


class CompletionShape:
    """Writes text_completion objects; `echoes` holds what each choice begins with."""

    def __init__(self, engine: TextEngine, echoes: list[str]) -> None:
        self._vocabulary = engine.vocabulary
        head_id = f"cmpl-{uuid.uuid4().hex}"
        self._head = {
            "id": head_id,
            "object": "text_completion",
            "created": int(time.time()),
            "model": engine.name,
        }
        self._echoes = echoes
        self._length = [0] * len(echoes)

    def chunks(self, choice: int, output: Output) -> Iterable[dict[str, Any]]:
        yield {**self._head, "choices": [self._choice(choice, [output])]}
        self._echoes[choice] = ""

    def usage_chunk(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage}

    def answer(self, outputs: list[list[Output]], usage: dict[str, Any]) -> dict[str, Any]:
        choices = [self._choice(choice, given) for choice, given in enumerate(outputs)]
        return {**self._head, "choices": choices, "usage": usage}

    def _choice(self, choice: int, outputs: list[Output]) -> dict[str, Any]:
        return {
            "index": choice,
            "text": self._echoes[choice] + "".join(output.text for output in outputs),
            "logprobs": self._logprobs(choice, outputs),
            "finish_reason": outputs[-1].finish,
        }

    def _logprobs(self, choice: int, outputs: list[Output]) -> dict[str, Any] | None:
        entries = [entry for output in outputs for entry in output.logprobs]
        if not entries:
            return None
        texts = [self._text(entry.token) for entry in entries]
        offsets = []
        for text in texts:
            offsets.append(self._length[choice])
            self._length[choice] += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [entry.logprob for entry in entries],
            "top_logprobs": [
                {self._text(token): logprob for token, logprob in entry.top} for entry in entries
            ],
            "text_offset": offsets,
        }

    def _text(self, token: int) -> str:
        piece = self._vocabulary.piece(token)
        try:
            return piece.decode()
        except UnicodeDecodeError:  # a part of a character, written as OpenAI does
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
