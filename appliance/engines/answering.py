"""A request's sequences run, and what they give goes out: as a stream, or as one answer.

The same for chat and plain completions, which differ in the shape of what they write (`Shape`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson

from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.generation import Generation, GenerationRequest, Output
from appliance.engines.metrics import Outcome
from appliance.engines.text_engine import TextEngine

_log = logging.getLogger(__name__)


class Shape(Protocol):
    """How outputs of choices are written."""

    def chunks(self, choice: int, output: Output) -> Iterable[dict[str, Any]]:
        """Stream events for one output, in order."""

    def usage_chunk(self, usage: dict[str, Any]) -> dict[str, Any]: ...

    def answer(self, outputs: list[list[Output]], usage: dict[str, Any]) -> dict[str, Any]:
        """The whole answer from all outputs of each choice."""


class _Inbox:
    """Outputs of all choices of one request, in the order in which they came."""

    def __init__(self) -> None:
        self._items: list[tuple[int, Output]] = []
        self._arrived = asyncio.Event()

    def mailbox(self, choice: int) -> Callable[[Output], None]:
        def put(output: Output) -> None:
            self._items.append((choice, output))
            self._arrived.set()

        return put

    async def take(self) -> list[tuple[int, Output]]:
        await self._arrived.wait()
        self._arrived.clear()
        items, self._items = self._items, []
        return items


async def answer_with(
    exchange: Exchange,
    engine: TextEngine,
    requests: list[GenerationRequest],
    shape: Shape,
    *,
    include_usage: bool,
) -> None:
    """Runs `requests` and writes their answer. Raises EngineBusy, GrammarNotUsable beforehand.

    When the client leaves, every sequence is cancelled before the next step.
    """
    began = time.monotonic()
    inbox = _Inbox()
    generations = engine.runner.submit(requests, [inbox.mailbox(choice) for choice in range(len(requests))])
    writing = asyncio.ensure_future(
        (_stream if requests[0].streams else _collect)(exchange, inbox, generations, shape, include_usage)
    )
    leaving = asyncio.ensure_future(exchange.left())
    outcome = Outcome.FAILED
    try:
        await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        outcome = Outcome.ANSWERED if writing.done() else Outcome.CANCELLED
        if writing.done():
            writing.result()
    finally:
        for generation in generations:
            engine.runner.cancel(generation)
        for task in (writing, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        _record(exchange, engine, generations, outcome, time.monotonic() - began)
    if outcome is Outcome.CANCELLED:
        raise ClientLeft


async def _stream(
    exchange: Exchange, inbox: _Inbox, generations: Sequence[Generation], shape: Shape, include_usage: bool
) -> None:
    await exchange.begin_stream()
    unfinished = len(generations)
    while unfinished:
        items = await inbox.take()
        unfinished -= sum(output.finish is not None for _, output in items)
        await exchange.send_events(
            orjson.dumps(chunk) for choice, output in items for chunk in shape.chunks(choice, output)
        )
    if include_usage:
        await exchange.send_events([orjson.dumps(shape.usage_chunk(usage_of(generations)))])
    await exchange.end_stream()


async def _collect(
    exchange: Exchange, inbox: _Inbox, generations: Sequence[Generation], shape: Shape, _include_usage: bool
) -> None:
    outputs: list[list[Output]] = [[] for _ in generations]
    unfinished = len(generations)
    while unfinished:
        for choice, output in await inbox.take():
            outputs[choice].append(output)
            unfinished -= output.finish is not None
    await exchange.answer(200, shape.answer(outputs, usage_of(generations)))


def usage_of(generations: Sequence[Generation]) -> dict[str, Any]:
    """Exact counts: the prompt once, the tokens of all choices; cached ones where the engine tells."""
    prompts = {id(generation.request.prompt): generation for generation in generations}
    prompt = sum(len(generation.request.prompt) for generation in prompts.values())
    generated = sum(generation.generated for generation in generations)
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
    }
    reused = [one.reused for one in prompts.values() if one.reused is not None]
    if reused:
        usage["prompt_tokens_details"] = {"cached_tokens": sum(reused)}
    return usage


def _record(
    exchange: Exchange,
    engine: TextEngine,
    generations: Sequence[Generation],
    outcome: Outcome,
    seconds: float,
) -> None:
    usage = usage_of(generations)
    engine.metrics.requests.labels(outcome).inc()
    engine.metrics.prompt_tokens.inc(usage["prompt_tokens"])
    engine.metrics.generated_tokens.inc(usage["completion_tokens"])
    _log.info(
        "request %s %s %s prompt_tokens=%d generated_tokens=%d seconds=%.3f",
        exchange.request_id,
        exchange.path,
        outcome,
        usage["prompt_tokens"],
        usage["completion_tokens"],
        seconds,
    )
