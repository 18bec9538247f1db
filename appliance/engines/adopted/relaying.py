"""One request, asked of the adopted server in the asking side's place; its answer goes out as it comes.

Checked by our contract first, then by what the server can do, then it waits for a place. Each choice is a
request of its own. When the client leaves, the connections to the server are closed at once: that is how it
learns to stop.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson

from appliance.engines.adopted.asking import read_whole
from appliance.engines.adopted.events import Events
from appliance.engines.adopted.places import Places
from appliance.engines.adopted.refusing import ServerFailed, check_request, refusal_of
from appliance.engines.adopted.speed import Speed
from appliance.engines.adopted.target import Target
from appliance.engines.adopted.translating import (
    BadAnswer,
    Form,
    TextRequest,
    choices_of,
    server_bodies,
    usage_of,
    usage_together,
)
from appliance.engines.contract import ChatRequest, CompletionRequest
from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.metrics import EngineMetrics, Outcome
from appliance.engines.served import check_model_name
from appliance.upstream import Connection, UpstreamLost

log = logging.getLogger(__name__)

Usage = dict[str, Any]


class BrokenOff(Exception):
    """Half an answer is out and no more will come: only breaking the connection tells the truth."""


class Relay:
    """Stands before one server. `lost` is set when it could not be reached."""

    def __init__(self, target: Target, name: str, places: Places, metrics: EngineMetrics) -> None:
        self.target = target
        self.name = name
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
        check_model_name(request.model, self.name)
        check_request(request, self.target)
        bodies = server_bodies(request, self.target.server, self.target.model)
        self._places.check_room(len(bodies))
        asked = _Asked(self, exchange, request, path)
        working = asyncio.ensure_future(asked.run(bodies))
        leaving = asyncio.ensure_future(exchange.left())
        began = time.monotonic()
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self._metrics.requests.labels(Outcome.CANCELLED).inc()
                raise ClientLeft
            self._record(exchange, path, working.result(), time.monotonic() - began)
        except (UpstreamLost, BadAnswer) as error:
            raise self._failure(exchange, error) from error
        finally:
            await _end((working, leaving))
            self._metrics.occupancy(self._places.busy, self._places.waiting, 0)

    def _record(self, exchange: Exchange, path: str, usage: Usage, seconds: float) -> None:
        self._metrics.requests.labels(Outcome.ANSWERED).inc()
        self._metrics.prompt_tokens.inc(usage["prompt_tokens"])
        self._metrics.generated_tokens.inc(usage["completion_tokens"])
        log.info(
            "request %s %s answered prompt_tokens=%d generated_tokens=%d seconds=%.3f",
            *(exchange.request_id, path, usage["prompt_tokens"], usage["completion_tokens"], seconds),
        )

    def _failure(self, exchange: Exchange, error: Exception) -> Exception:
        title = self.target.server.title
        if isinstance(error, UpstreamLost):
            self.lost.set()
        log.warning("request %s: %s failed: %s", exchange.request_id, title, error)
        if exchange.started:
            return BrokenOff(f"{title}: {error}")
        return ServerFailed(f"{title} gave no usable answer: {error}.", retry_after_seconds=5)

    async def open(self, path: str, body: dict[str, Any], request: TextRequest) -> Connection:
        """A connection whose good answer has begun; release it. Raises the server's refusal, UpstreamLost."""
        connection = await self.target.asker.begin(
            "POST", self.target.server.prefix + path, orjson.dumps(body)
        )
        self.answered_at = time.monotonic()
        if connection.status == 200:
            return connection
        try:
            said = _json(await read_whole(connection))
        finally:
            connection.release()
        if connection.status in (401, 403, 404):
            self.lost.set()  # the watch finds out what has become of it
        raise refusal_of(connection.status, said, self.target.server, request)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place among those that the server answers at once."""
        async with self._places.taken():
            self._metrics.occupancy(self._places.busy, self._places.waiting, 0)
            yield

    def note(self, usage: Usage, seconds: float) -> None:
        self.speed.note(usage["completion_tokens"], seconds, self._places.busy)


class _Asked:
    """One request and the answers to its parts."""

    def __init__(self, relay: Relay, exchange: Exchange, request: TextRequest, path: str) -> None:
        self._relay = relay
        self._exchange = exchange
        self._request = request
        self._path = path
        is_chat = isinstance(request, ChatRequest)
        self._form = Form(
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=relay.name,
            is_chat=is_chat,
            top_logprobs=(request.top_logprobs or 0) if isinstance(request, ChatRequest) else 0,
        )
        self._beginning = asyncio.Lock()

    async def run(self, bodies: Sequence[dict[str, Any]]) -> Usage:
        """The usage of the answer that went out. Raises UpstreamLost, BadAnswer and the server's refusals."""
        part = self._stream if self._request.stream else self._whole
        results = await _together([part(body, index) for index, body in enumerate(bodies)])
        usage = usage_together([usage for _, usage in results], self._request.n)
        exchange, options = self._exchange, self._request.stream_options
        if not self._request.stream:
            await exchange.answer(200, self._form.answer([choice for choice, _ in results], usage))
            return usage
        if options and options.include_usage:
            await exchange.send_events([orjson.dumps(self._form.usage_chunk(usage))])
        await exchange.end_stream()
        return usage

    async def _whole(self, body: dict[str, Any], index: int) -> tuple[dict[str, Any], Usage]:
        async with self._relay.place():
            began = time.monotonic()
            connection = await self._relay.open(self._path, body, self._request)
            try:
                answer = _json(await read_whole(connection))
            finally:
                connection.release()
            choices = choices_of(answer)
            usage = usage_of(answer) if isinstance(answer, dict) else None
            if not choices or usage is None:
                raise BadAnswer("it has no choices" if not choices else "it does not tell its usage")
            self._relay.note(usage, time.monotonic() - began)
        return self._form.choice(choices[0], index), usage

    async def _stream(self, body: dict[str, Any], index: int) -> tuple[dict[str, Any], Usage]:
        async with self._relay.place():
            began = time.monotonic()
            connection = await self._relay.open(self._path, body, self._request)
            try:
                usage = await self._pour(connection, index)
            finally:
                connection.release()
            self._relay.note(usage, time.monotonic() - began)
        return {}, usage

    async def _pour(self, connection: Connection, index: int) -> Usage:
        """Sends on the events of one choice; its usage."""
        events, usage, is_finished, at_end = Events(), None, False, False
        while not at_end:
            data = await connection.read()
            self._relay.answered_at = time.monotonic()
            at_end = data is None
            out = []
            for event in events.end() if data is None else events.feed(data):
                usage = usage_of(event) or usage
                ours = [self._form.choice(choice, index) for choice in choices_of(event)]
                if ours:
                    is_finished |= any(choice["finish_reason"] for choice in ours)
                    out.append(orjson.dumps(self._form.chunk(ours)))
            await self._send(out)
        if not is_finished or usage is None:
            raise BadAnswer(
                "its stream does not tell its usage" if is_finished else "its stream ended before its answer"
            )
        return usage

    async def _send(self, events: list[bytes]) -> None:
        if not events:
            return
        async with self._beginning:
            if not self._exchange.started:
                await self._exchange.begin_stream()
        await self._exchange.send_events(events)


async def _together(
    parts: Sequence[Coroutine[Any, Any, tuple[dict[str, Any], Usage]]],
) -> list[tuple[dict[str, Any], Usage]]:
    """All results; the first failure ends the others."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def _end(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
