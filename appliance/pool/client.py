"""The client of one request under /v1: its body, its leaving, and the answer on its way back.

It is uvicorn's own cycle of request and response, written to directly: the messages, coroutines and checks
of ASGI, which every other path goes through, would cost a third of a whole request. An answer is one write
to the socket, and so is each part of a stream.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from appliance.pool.asgi import BodyTooLarge, BodyTooSlow, ClientLeft, Headers

_CHUNKED = (b"transfer-encoding", b"chunked")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Client(RequestResponseCycle):
    """Made by PoolProtocol when the head of a request is complete."""

    on_leave: Callable[[], None] | None = None
    """Called when the client goes away before its answer is complete."""

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return self.scope["path"]

    @property
    def left(self) -> bool:
        return self.disconnected

    async def run_asgi(self, app: Any) -> None:  # noqa: ANN401 Api; uvicorn's name for a task's start
        """Has the request answered by `app`; an answer that is not whole then ends with its connection."""
        try:
            await app(self)
        except BaseException:
            self.logger.exception("%s %s", self.method, self.path)
        if not self.response_started:
            self.answer(500, [], b"", close=True)
        elif not self.response_complete:
            self.transport.close()

    async def whole_body(self, length: bytes | None, limit: int, seconds: float) -> bytes:
        """The request's body; `length` is what its content-length header says.

        Raises BodyTooLarge (before it is there, where its length is declared), BodyTooSlow, ClientLeft.
        """
        if length is not None and int(length) > limit:
            raise BodyTooLarge.than(limit)
        self.flow.resume_reading()  # a pipelined request paused it; unread, nobody's leaving is noticed
        if self.more_body:  # seldom: head and body mostly arrive together
            await self._receive_rest(limit, seconds)
        if self.disconnected:
            raise ClientLeft
        if len(self.body) > limit:
            raise BodyTooLarge.than(limit)
        return bytes(self.body)

    async def _receive_rest(self, limit: int, seconds: float) -> None:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.waiting_for_100_continue = False
            self.transport.write(_CONTINUE)
        try:
            async with asyncio.timeout(seconds):
                while self.more_body and not self.disconnected and len(self.body) <= limit:
                    self.flow.resume_reading()
                    self.message_event.clear()
                    await self.message_event.wait()
        except TimeoutError:
            raise BodyTooSlow.than(seconds) from None

    def answer(self, status: int, headers: Headers, body: bytes, *, close: bool = False) -> None:
        """Sends a whole response. `close` when the request's body was left unread."""
        if self.disconnected:
            return
        self.keep_alive = self.keep_alive and not close
        head = self._head(status, [*headers, (b"content-length", b"%d" % len(body))])
        # what follows the head of an answer to HEAD would be taken for the next one (RFC 9110, 9.3.2)
        self.transport.write(head if self.method == "HEAD" else head + body)
        self._ended()

    def begin_stream(self, headers: Headers, data: bytes) -> "asyncio.Future[None] | None":
        """Sends the head of a 200 and the first part of its body; returns as `send_part`."""
        if self.disconnected:
            return None
        return self._write(self._head(200, [*headers, _CHUNKED]) + _chunk(data))

    def send_part(self, data: bytes) -> "asyncio.Future[None] | None":
        """Sends a part of a stream. A future means: no more before it is done, the client is slow."""
        return None if self.disconnected else self._write(_chunk(data))

    def end_stream(self, data: bytes) -> None:
        """Sends the last part, if there is one, and the end of the stream."""
        if self.disconnected:
            return
        self.transport.write((_chunk(data) if data else b"") + b"0\r\n\r\n")
        self._ended()

    def _write(self, data: bytes) -> "asyncio.Future[None] | None":
        self.transport.write(data)
        return asyncio.ensure_future(self.flow.drain()) if self.flow.write_paused else None

    def _head(self, status: int, headers: Headers) -> bytes:
        self.response_started = True
        self.waiting_for_100_continue = False
        headers += self.default_headers
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        head = STATUS_LINE[status] + b"".join([b"%s: %s\r\n" % header for header in headers]) + b"\r\n"
        if head.count(b"\n") != len(headers) + 2:  # a value with a line break would forge a header
            raise ValueError("a response header has a line break")
        return head

    def _ended(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
