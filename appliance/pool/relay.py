"""Fourth step: the request goes to the node, and the node's bytes to the client, unchanged.

Until the first byte was passed on, a node that breaks is replaced by another and the client never
knows. After it, the stream ends with an error event, which OpenAI clients raise as an error. The
client's leaving closes the connection to the engine at once. A slow client slows the engine: reading
stops while sending waits.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from appliance.errors import Broken, TryAgain
from appliance.pool.asgi import ClientLeft, Headers, refusal_body
from appliance.pool.ask import Ask
from appliance.pool.client import Client
from appliance.pool.dispatch import Dispatch, Lease
from appliance.pool.limits import Limits
from appliance.pool.meter import Exchange, Outcome
from appliance.pool.nodes import NodeEngine
from appliance.pool.stream import BadStream, EventFilter, usage_of_answer, usage_of_headers
from appliance.upstream import Connection, Upstream, UpstreamLost

log = logging.getLogger(__name__)

_EVENT_STREAM: Headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
_TRY_ELSEWHERE = (429, 502, 503, 504)
_NOT_TAKEN_HERE = (b'"code":"prompt_too_long_here"', b'"code":"prompt_too_short_here"')
_ANSWER_LIMIT = 256 * 1024 * 1024


class NodesBroke(TryAgain):
    """Several nodes took the request and each broke."""

    code = "nodes_failed"
    http_status = 503
    openai_type = "server_error"


class Interrupted(Broken):
    """The node broke off in the middle of an answer."""

    code = "answer_interrupted"


class _NotTakenHere(Exception):
    """The engine is well and does not take this prompt; another node may."""


class BadAnswer(Broken):
    """The node refused with something that is no OpenAI error object."""

    code = "bad_upstream_answer"
    http_status = 502


@dataclass
class Relay:
    dispatch: Dispatch
    upstream: Upstream
    limits: Limits

    async def run(self, exchange: Exchange, ask: Ask, client: Client, headers: Headers) -> None:
        """Answers one request; notes its course in `exchange`. Raises the refusals of Dispatch.lease,
        NodesBroke and ClientLeft, as long as nothing was passed on."""
        while True:
            lease = self.dispatch.lease_now(ask) or await self._wait_for_lease(exchange, ask, client)
            attempt = _Attempt(self, exchange, ask, lease.engine, client)
            exchange.attempts += 1
            exchange.node = lease.engine.node_id
            try:
                return await attempt.run(headers)
            except _NotTakenHere:
                # the node is not broken, and it counts as no attempt: there are at most as many as nodes
                exchange.attempts -= 1
                ask = ask._replace(refused_by=ask.refused_by | {lease.engine.node_id})
                log.info("request %s: %s takes no such prompt", exchange.request_id, lease.engine.node)
            except UpstreamLost as lost:
                if client.left:
                    raise ClientLeft from None
                log.warning("request %s: %s broke it: %s", exchange.request_id, lease.engine.node, lost)
                lease.engine.broke(monotonic())
                if exchange.attempts >= self.limits.attempts:
                    raise NodesBroke(
                        f"{exchange.attempts} nodes failed on this request.",
                        retry_after_seconds=10,
                        next_step="Repeat it later; if it fails again, change it.",
                    ) from None
            finally:
                lease.release()

    async def _wait_for_lease(self, exchange: Exchange, ask: Ask, client: Client) -> Lease:
        waited_from = monotonic()

        def note(place: int) -> None:
            exchange.place = exchange.place or place

        try:
            again = exchange.attempts > 0 or bool(ask.refused_by)
            return await self.dispatch.lease(ask, exchange.caller.id, client, again=again, on_place=note)
        finally:
            exchange.queue_seconds += monotonic() - waited_from


@dataclass(slots=True, eq=False)
class _Attempt:
    """One request on one node."""

    _relay: Relay
    _exchange: Exchange
    _ask: Ask
    _engine: NodeEngine
    _client: Client
    _connection: Connection | None = None
    _passed_on: bool = False
    _stalled: bool = False

    async def run(self, headers: Headers) -> None:
        self._engine.cuts.add(self._cut)
        try:
            connection = await self._ask_node()
            if connection.status in _TRY_ELSEWHERE:
                raise UpstreamLost(f"it answered {connection.status}")
            headers = [
                *headers,
                (b"x-cellule-node", self._engine.header_name),
                (b"x-cellule-queue-position", b"%d" % self._exchange.place),
            ]
            if self._ask.stream and connection.status == 200:
                await self._pass_stream(connection, headers)
            else:
                await self._pass_whole(connection, headers)
        finally:
            self._engine.cuts.discard(self._cut)
            self._client.on_leave = None
            if self._connection is not None:
                self._connection.release()

    async def _ask_node(self) -> Connection:
        """Sends the request and returns the connection once the node's answer begins."""
        request = self._request()
        fresh = False
        while True:
            upstream, address = self._relay.upstream, self._engine.address
            connection = (None if fresh else upstream.idle(address)) or await upstream.open(address)
            self._connection = connection
            if self._client.left:
                raise ClientLeft
            self._client.on_leave = self._client_left
            connection.write(request)
            try:
                await connection.head()
            except UpstreamLost:
                # the node may close a kept-alive connection at the moment when it is used again
                if not connection.reused or connection.received_any or self._client.left:
                    raise
                connection.release()
                fresh = True
            else:
                return connection

    def _request(self) -> bytes:
        return (
            b"POST %s HTTP/1.1\r\nhost: engine\r\ncontent-type: %s\r\n"
            b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n%s"
            % (
                self._ask.endpoint.encode(),
                self._ask.content_type,
                self._exchange.request_id.encode(),
                len(self._ask.body),
                self._ask.body,
            )
        )

    def _cut(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.fail(reason)

    def _client_left(self) -> None:
        self._cut("the client left")

    async def _pass_whole(self, connection: Connection, headers: Headers) -> None:
        parts: list[bytes] = []
        size = 0
        while (part := await connection.read()) is not None:
            parts.append(part)
            size += len(part)
            if size > _ANSWER_LIMIT:
                raise UpstreamLost("its answer is too large")
        body = b"".join(parts)
        if connection.status == 400 and any(code in body for code in _NOT_TAKEN_HERE):
            raise _NotTakenHere
        exchange, status = self._exchange, connection.status
        if status >= 400 and not connection.content_type.startswith(b"application/json"):
            raise BadAnswer(f"The node answered {status} without a reason.", next_step="Try again.")
        if status == 200:
            exchange.tokens_in, exchange.tokens_out = (
                usage_of_headers(connection.headers) or usage_of_answer(body) or (0, 0)
            )
            self._engine.measure(exchange.tokens_out, monotonic() - exchange.started - exchange.queue_seconds)
        exchange.ended(
            Outcome.ANSWERED if status < 400 else Outcome.REFUSED if status < 500 else Outcome.FAILED, status
        )
        self._client.answer(status, [(b"content-type", connection.content_type), *headers], body)

    async def _pass_stream(self, connection: Connection, headers: Headers) -> None:
        exchange = self._exchange
        events = EventFilter(drop_usage=self._ask.usage_added)
        stall = _Stall(self._relay.limits.client_stall_seconds, connection, events, self._give_up_stalled)

        def push(data: bytes) -> "asyncio.Future[None] | None":
            try:
                data = events.feed(data)
            except BadStream:
                connection.fail("an event of its stream has no end")
                return None
            if not data:
                return None
            if self._passed_on:
                return self._client.send_part(data)
            self._passed_on = True
            exchange.first_token_seconds = monotonic() - exchange.started
            return self._client.begin_stream([*_EVENT_STREAM, *headers], data)

        try:
            await connection.pour(push)
        except (UpstreamLost, asyncio.CancelledError) as error:
            self._count(events)
            if not self._passed_on:
                raise
            self._break_off(str(error))
            return
        finally:
            stall.stop()
        if not self._passed_on:
            raise UpstreamLost("its stream was empty")
        self._count(events)
        self._engine.measure(exchange.tokens_out, monotonic() - exchange.started - exchange.queue_seconds)
        exchange.ended(Outcome.ANSWERED, 200)
        self._client.end_stream(events.end())

    def _give_up_stalled(self, task: "asyncio.Task[None]") -> None:
        self._stalled = True
        task.cancel()

    def _count(self, events: EventFilter) -> None:
        # without a usage chunk the stream broke off: what is known is how many events were passed on
        self._exchange.tokens_in, self._exchange.tokens_out = events.usage or (0, events.events)

    def _break_off(self, reason: str) -> None:
        """Ends a stream that can't go on, so that the client knows that it is not whole."""
        if self._client.left or self._stalled:
            raise ClientLeft
        exchange = self._exchange
        exchange.ended(Outcome.INTERRUPTED, 200)
        log.warning("request %s: interrupted on %s: %s", exchange.request_id, self._engine.node, reason)
        error = Interrupted(
            f"The answer broke off: {self._engine.node} stopped answering.",
            next_step="Send the request again.",
        )
        self._client.end_stream(b"data: " + refusal_body(error) + b"\n\n")


class _Stall:
    """Looks now and then whether a stream stands still because its client takes nothing."""

    __slots__ = ("_connection", "_events", "_on_stall", "_seconds", "_seen", "_task", "_timer")

    def __init__(
        self,
        seconds: float,
        connection: Connection,
        events: EventFilter,
        on_stall: "Callable[[asyncio.Task[None]], None]",
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._seconds = seconds
        self._connection = connection
        self._events = events
        self._on_stall = on_stall
        self._seen = -1
        self._timer = task.get_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if self._connection.held_back and self._seen == self._events.events:
            self._on_stall(self._task)
            return
        self._seen = self._events.events
        self._timer = self._task.get_loop().call_later(self._seconds / 2, self._look)

    def stop(self) -> None:
        self._timer.cancel()
