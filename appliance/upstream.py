"""A thin HTTP/1.1 client towards engines and the web pages: TCP or unix sockets, kept alive.

Bytes are handed on as they come. Reading pauses while more than `_UNREAD_LIMIT` bytes lie unread, so a
client that does not read stops the engine's writing, not this process's memory. Closing a response
before its end closes the connection at once: that is how an engine learns that its client left.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import httptools

_UNREAD_LIMIT = 64 * 1024
_IDLE_KEPT = 256
_IDLE_SECONDS = 30.0
_HEAD_LIMIT = 64 * 1024


class UpstreamLost(Exception):
    """The node could not be reached, or its connection ended before the answer did."""


class Address(NamedTuple):
    """Where an engine or the web service listens: a unix socket's path, or host and port."""

    host: str
    port: int
    """0 means that `host` is the path of a unix socket."""

    @classmethod
    def unix(cls, path: Path) -> "Address":
        return cls(str(path), 0)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


Sink = Callable[[bytes], "asyncio.Future[None] | None"]
"""Takes bytes; a future that it returns is done when it can take more."""


class Connection(asyncio.Protocol):
    """One kept-alive connection and the response that is being read from it.

    `read` returns the next bytes of the body, None at its end; it raises UpstreamLost when the
    connection ends first. One reader only.
    """

    __slots__ = (
        "_chunks", "_complete", "_framed", "_head_size", "_held", "_idle", "_keep_alive", "_loop", "_lost",
        "_no_body", "_parser", "_paused", "_reason", "_released", "_sink", "_unread", "_waiter", "_writable",
        "address", "content_type", "headers", "received_any", "reused", "status", "transport",
    )  # fmt: skip

    def __init__(
        self, address: Address, idle: "deque[tuple[float, Connection]]", *, no_body: bool = False
    ) -> None:
        self.address = address
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._lost = False
        self._reason = ""
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self.transport: asyncio.Transport
        self.reused = False
        self._paused = False
        self._prepare(no_body=no_body)

    def _prepare(self, *, no_body: bool) -> None:
        self.status = 0
        self.content_type = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.received_any = False
        self._no_body = no_body
        self._head_size = 0
        self._unread = 0
        self._complete = False
        self._framed = False
        self._keep_alive = False
        self._released = False
        self._sink: Sink | None = None
        self._held: asyncio.Future[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclass of it
        if self.address.port:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.received_any = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError) as error:
            self.fail(f"no valid HTTP: {error}")
            return
        if self._sink is not None:
            self._deliver()
            if not self._complete and not self._reason:
                return
        waiter = self._waiter
        if waiter is not None:
            if not waiter.done():
                waiter.set_result(None)
        elif self._unread > _UNREAD_LIMIT:
            self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if exc is None and self.status and not self._framed:
            self._complete = True  # a body without a length ends with its connection (RFC 9112, 6.3)
        self._reason = self._reason or (str(exc) if exc else "the connection was closed")
        self._wake()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _HEAD_LIMIT:
            raise ValueError("the response's header is too large")
        name = name.lower()
        if name == b"content-type":
            self.content_type = value
        elif name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the real one follows
            self.headers.clear()
            return
        self.status = status
        if self._no_body:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._unread += len(body)

    def on_message_complete(self) -> None:
        if self.status:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive() and not self._no_body

    # the relay's side

    @property
    def held_back(self) -> bool:
        """Whether reading is paused because its reader does not take what is there."""
        return self._paused

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def drained(self) -> None:
        """Returns once the transport takes more bytes. Raises UpstreamLost."""
        if self._lost:
            raise UpstreamLost(self._reason)
        if self._writable is not None:
            await self._writable

    async def head(self) -> None:
        """Returns once `status` and `headers` are there. Raises UpstreamLost."""
        while not self.status:
            await self._wait()

    async def read(self) -> bytes | None:
        """The next bytes of the body, None at its end. Raises UpstreamLost."""
        while True:
            chunks = self._chunks
            if chunks:
                if len(chunks) == 1:
                    data = chunks.popleft()
                else:
                    data = b"".join(chunks)
                    chunks.clear()
                self._unread = 0
                self._resume()
                return data
            if self._complete:
                return None
            await self._wait()

    async def pour(self, sink: Sink) -> None:
        """Gives the rest of the body to `sink` as it comes, in the very call that brings it, and returns
        at its end. While a future that `sink` returned is not done, nothing more is read.

        Raises UpstreamLost.
        """
        self._sink = sink
        try:
            self._deliver()
            while not self._complete or self._held is not None:
                if self._held is not None:
                    await self._held
                else:
                    await self._wait()
                self._deliver()
        finally:
            self._sink = None

    def _deliver(self) -> None:
        if not self._chunks or self._sink is None or self._held is not None:
            return
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._unread = 0
        held = self._sink(data)
        if held is not None:
            self._held = held
            self._pause()
            held.add_done_callback(self._let_go)

    def _let_go(self, _held: object) -> None:
        self._held = None
        self._deliver()
        if self._held is None:
            self._resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    async def _wait(self) -> None:
        if self._lost or self._reason:
            raise UpstreamLost(self._reason)
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, reason: str) -> None:
        """Ends the connection now; the reader gets UpstreamLost(reason) after what it already has."""
        self._reason = self._reason or reason
        self._chunks.clear()
        self.transport.abort()
        self._wake()

    def release(self) -> None:
        """Hands the connection back: kept if its answer was read to the end, closed if not."""
        if self._released:
            return
        self._released = True
        if self._complete and self._keep_alive and not self._chunks and not self._lost and not self._reason:
            self._idle.append((self._loop.time(), self))
            if len(self._idle) > _IDLE_KEPT:
                self._idle.popleft()[1].transport.abort()
        else:
            self._reason = self._reason or "released"
            self.transport.abort()

    def take(self, *, no_body: bool) -> bool:
        """Readies an idle connection for another request; False if it died meanwhile."""
        if self._lost or self.transport.is_closing():
            return False
        self.reused = True
        self._prepare(no_body=no_body)
        return True


class Upstream:
    """Opens and keeps the connections, a stack of idle ones for each address."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._idle: dict[Address, deque[tuple[float, Connection]]] = {}

    def idle(self, address: Address, *, no_body: bool = False) -> Connection | None:
        """A kept connection ready for one request, if there is one; `no_body` is for HEAD."""
        idle = self._idle.get(address)
        if idle:
            oldest_allowed = asyncio.get_running_loop().time() - _IDLE_SECONDS
            while idle:
                since, connection = idle.pop()
                if since < oldest_allowed:
                    connection.transport.abort()
                elif connection.take(no_body=no_body):
                    return connection
        return None

    async def open(self, address: Address, *, no_body: bool = False) -> Connection:
        """A new connection ready for one request. Raises UpstreamLost."""
        loop = asyncio.get_running_loop()
        idle = self._idle.setdefault(address, deque())

        def make() -> Connection:
            return Connection(address, idle, no_body=no_body)

        try:
            async with asyncio.timeout(self._connect_seconds):
                if address.port:
                    _, connection = await loop.create_connection(make, address.host, address.port)
                else:
                    _, connection = await loop.create_unix_connection(make, address.host)
        except TimeoutError:
            raise UpstreamLost(f"{address} accepted no connection for {self._connect_seconds:g} s") from None
        except OSError as error:
            raise UpstreamLost(f"{address}: {error.strerror or error}") from error
        return connection

    def forget(self, address: Address) -> None:
        """Closes the idle connections to an address that is not used any more."""
        for _, connection in self._idle.pop(address, ()):
            connection.transport.abort()

    def close(self) -> None:
        for address in list(self._idle):
            self.forget(address)
