"""The gunicorn worker: uvicorn set as the pool needs it, refusing bad HTTP with OpenAI error objects."""

import asyncio
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

STOP_SECONDS = 5
"""How long running requests may go on after SIGTERM; then they are ended and metered."""
_HEAD_LIMIT_BYTES = 64 * 1024
_HEAD_SECONDS = 20.0


class _OneWrite:
    """A transport whose write of a response's head waits for the first part of its body.

    uvicorn writes them apart, which costs a system call here and a wake-up of the client for nothing.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._write = transport.write
        self._loop = loop
        self._head = b""
        self._transport = transport
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 whatever a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head)


class PoolProtocol(HttpToolsProtocol):
    """uvicorn's, with a limit to the size of a request's head and to the time of the first."""

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _OneWrite(transport, self.loop)))
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:  # not the whole head came; in most requests it does
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        error = {"message": msg, "type": "invalid_request_error", "param": None, "code": "invalid_http"}
        body = orjson.dumps({"error": error})
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        self.transport.close()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self.transport.close()


class PoolWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker has no types
    """`proxy_headers` is off: the client's address is the connection's, whatever a header says."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 the type of the base class
        "loop": "uvloop",
        "http": PoolProtocol,
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "timeout_graceful_shutdown": STOP_SECONDS,
    }
