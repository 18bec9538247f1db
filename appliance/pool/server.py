"""The gunicorn worker: uvicorn set as the pool needs it, refusing bad HTTP with OpenAI error objects."""

import asyncio
import socket
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn_worker import UvicornWorker

from appliance.pool.client import Client
from appliance.pool.front import ends_before_front

STOP_SECONDS = 5
"""How long running requests may go on after SIGTERM; then they are ended and metered."""
_HEAD_LIMIT_BYTES = 64 * 1024
_HEAD_SECONDS = 20.0


class PoolProtocol(HttpToolsProtocol):
    """uvicorn's; a request under /v1 is handed to the pool's `api` as a Client, every other one as ASGI.

    It limits the size of a request's head and the time in which it must come. A connection has one timer
    for that and for its idle time, which looks again when it was early: setting one for each request
    costs more.
    """

    _in_head = False
    _head_bytes = 0
    _behind_front = False
    """On a unix socket, whose only client is nginx: it says who is calling."""
    _waits_since = 0.0
    """When the connection was made, or its last answer was complete (the loop's time)."""
    _answering: RequestResponseCycle | None = None
    """With pipelining it is not uvicorn's `cycle`, which is the last that came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._behind_front = transport.get_extra_info("socket").family == socket.AF_UNIX
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
            if isinstance(answering, Client) and answering.on_leave is not None:
                answering.on_leave()

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
        if self._behind_front:
            ends = ends_before_front(self.headers)
            self.scope["client"], self.scope["server"], self.scope["scheme"] = ends
        path = _path(self.url)
        if not path.startswith("/v1/"):
            super().on_headers_complete()
            return
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = path
        before, self.cycle = self.cycle, Client(
            self.scope, self.transport, self.flow, self.logger, self.access_logger, False,
            self.server_state.default_headers, asyncio.Event(), self.expect_100_continue,
            self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive(),
            self.on_response_complete,
        )  # fmt: skip
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app.api)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app.api))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 ASGI or Api
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """uvicorn's, less the timer for the idle time."""
        self._waits_since = self.loop.time()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _look(self) -> None:
        """Closes the connection if it waited too long for the head of a request."""
        if self.cycle is not None and not self.cycle.response_complete:
            left = _HEAD_SECONDS
        else:
            allowed = _HEAD_SECONDS if self.cycle is None else self.timeout_keep_alive
            left = self._waits_since + allowed - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
        elif not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        error = {"message": msg, "type": "invalid_request_error", "param": None, "code": "invalid_http"}
        body = orjson.dumps({"error": error})
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        self.transport.close()


@lru_cache(maxsize=256)
def _path(target: bytes) -> str:
    """The decoded path of a request's target (RFC 9112, 3.2)."""
    return unquote(httptools.parse_url(target).path.decode("ascii"))


class PoolWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker has no types
    """`proxy_headers` is off: on TCP the client's address is the connection's, whatever a header says."""

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
