"""One request, asked of the adopted server in the asking side's place; its bytes go out as they come.

Checked by our contract first, then by what the server can do, then it waits for a place. When the client
leaves, the connection to the server is closed at once: that is how it learns to stop.
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import orjson

from appliance.engines.adopted.asking import read_whole
from appliance.engines.adopted.events import Events
from appliance.engines.adopted.places import Places
from appliance.engines.adopted.speed import Speed
from appliance.engines.adopted.target import Target
from appliance.engines.adopted.translating import (
    BadAnswer,
    ServerFailed,
    check_offered,
    chunk,
    refusal_of,
    server_body,
    usage_chunk,
    usage_of,
    whole_answer,
)
from appliance.engines.contract import ChatRequest, CompletionRequest
from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.metrics import EngineMetrics, Outcome
from appliance.engines.served import check_model_name
from appliance.upstream import Connection, UpstreamLost

log = logging.getLogger(__name__)

TextRequest = ChatRequest | CompletionRequest


class BrokenOff(Exception):
    """Half an answer is out and no more will come: only breaking the connection tells the truth."""


class Relay:
    """Stands before one server. `lost` is set when it could not be reached."""

    def __init__(self, target: Target, name: str, places: Places, metrics: EngineMetrics) -> None:
        self.target = target
        self._name = name
        self._places = places
        self._metrics = metrics
        self.speed = Speed()
        self.lost = asyncio.Event()
        self.answered_at = 0.0
        """Monotonic; when the server last sent something."""

    async def chat(self, exchange: Exchange) -> None:
        await self._answer(exchange, await exchange.body_as(ChatRequest), "/chat/completions")

    async def completions(self, exchange: Exchange) -> None:
        await self._answer(exchange, await exchange.body_as(CompletionRequest), "/completions")

    async def _answer(self, exchange: Exchange, request: TextRequest, path: str) -> None:
        check_model_name(request.model, self._name)
        check_offered(request, self.target.server)
        working = asyncio.ensure_future(self._ask(exchange, request, path))
        leaving = asyncio.ensure_future(exchange.left())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return
            self._metrics.requests.labels(Outcome.CANCELLED).inc()
            raise ClientLeft
        finally:
            for task in (working, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _ask(self, exchange: Exchange, request: TextRequest, path: str) -> None:
        async with self._places.taken():
            self._metrics.occupancy(self._places.busy, self._places.waiting, 0)
            began = time.monotonic()
            try:
                usage = await self._pass_on(exchange, request, path)
            except (UpstreamLost, BadAnswer) as error:
                raise self._failure(exchange, error) from error
            seconds = time.monotonic() - began
            self.speed.note(usage["completion_tokens"], seconds, self._places.busy)
        self._metrics.occupancy(self._places.busy, self._places.waiting, 0)
        self._metrics.requests.labels(Outcome.ANSWERED).inc()
        self._metrics.prompt_tokens.inc(usage["prompt_tokens"])
        self._metrics.generated_tokens.inc(usage["completion_tokens"])
        log.info(
            "request %s %s answered prompt_tokens=%d generated_tokens=%d seconds=%.3f",
            exchange.request_id, path, usage["prompt_tokens"], usage["completion_tokens"], seconds,
        )  # fmt: skip

    def _failure(self, exchange: Exchange, error: Exception) -> Exception:
        if isinstance(error, UpstreamLost):
            self.lost.set()
        log.warning("request %s: %s failed: %s", exchange.request_id, self.target.server.title, error)
        if exchange.started:
            return BrokenOff(f"{self.target.server.title}: {error}")
        return ServerFailed(
            f"{self.target.server.title} gave no usable answer: {error}.", retry_after_seconds=5
        )

    async def _pass_on(self, exchange: Exchange, request: TextRequest, path: str) -> dict[str, Any]:
        """The usage of the answer that went out. Raises UpstreamLost, BadAnswer and the server's refusals."""
        body = orjson.dumps(server_body(request, self.target.server, self.target.model))
        connection = await self.target.asker.begin("POST", self.target.server.prefix + path, body)
        try:
            self.answered_at = time.monotonic()
            if connection.status != 200:
                self._refuse(connection.status, await read_whole(connection))
            if request.stream:
                include_usage = bool(request.stream_options and request.stream_options.include_usage)
                return await self._stream(exchange, connection, request.n, include_usage=include_usage)
            answer = whole_answer(_json(await read_whole(connection)), self._name)
            await exchange.answer(200, answer)
            usage: dict[str, Any] = answer["usage"]
            return usage
        finally:
            connection.release()

    def _refuse(self, status: int, body: bytes) -> None:
        refusal = refusal_of(status, _json(body), self.target.server)
        if status in (401, 403, 404):
            self.lost.set()  # the watch finds out what has become of it
        raise refusal

    async def _stream(
        self, exchange: Exchange, connection: Connection, choices: int, *, include_usage: bool
    ) -> dict[str, Any]:
        events, usage, last = Events(), None, None
        finished: set[int] = set()
        at_end = False
        while not at_end:
            data = await connection.read()
            self.answered_at = time.monotonic()
            at_end = data is None
            out = []
            for event in events.end() if data is None else events.feed(data):
                usage = usage_of(event) or usage
                ours = chunk(event, self._name)
                if ours is not None:
                    finished |= {one.get("index", 0) for one in ours["choices"] if one["finish_reason"]}
                    last = ours
                    out.append(orjson.dumps(ours))
            if out and not exchange.started:
                await exchange.begin_stream()
            await exchange.send_events(out)
        if last is None or len(finished) < choices:
            raise BadAnswer("its stream ended before its answer did")
        if usage is None:
            raise BadAnswer("its stream does not tell its usage")
        if include_usage:
            await exchange.send_events([orjson.dumps(usage_chunk(last, usage))])
        await exchange.end_stream()
        return usage


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
