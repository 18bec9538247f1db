"""The gunicorn worker: uvicorn set as the pool needs it, refusing bad HTTP with OpenAI error objects."""

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

STOP_SECONDS = 5
"""How long running requests may go on after SIGTERM; then they are ended and metered."""
_HEAD_LIMIT_BYTES = 64 * 1024
_HEAD_SECONDS = 20.0


class PoolProtocol(HttpToolsProtocol):
    """uvicorn's, with a limit to the size of a request's head and to the time of the first."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _HEAD_LIMIT_BYTES:
            raise ValueError("the head is too large")  # the parser makes it an HttpParserCallbackError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
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
