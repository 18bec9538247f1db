"""Every path that is not the pool's own goes to the web service's unix socket, streamed both ways.

Who the client is, the pool says itself: whatever X-Forwarded-* or Forwarded a client sent is dropped.
"""

import logging
from functools import partial

from appliance.pool.asgi import ClientLeft, Headers, Receive, Scope, Send, Watch, answer
from appliance.upstream import Address, Connection, Upstream, UpstreamLost

log = logging.getLogger(__name__)

# those of one connection (RFC 9110, 7.6.1), and those that only the pool may set
_NOT_PASSED_ON = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"content-length", b"expect", b"forwarded", b"x-real-ip",
    )
)  # fmt: skip
_NOT_PASSED_BACK = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer"))
_DOWN = "The pages are not available right now. Please try again in a few seconds.\n"


class Pages:
    def __init__(self, upstream: Upstream, address: Address) -> None:
        self._upstream = upstream
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on and its answer back; 503 as plain text if the web service is down."""
        client = Watch(receive)
        connection: Connection | None = None
        started = False
        try:
            connection = self._kept(scope) or await self._open(scope)
            try:
                await _ask(scope, receive, client, connection)
            except UpstreamLost:
                # a kept connection may be closed at the moment when it is used again
                if not connection.reused or connection.received_any or client.left:
                    raise
                connection.release()
                connection = await self._open(scope)
                client.on_leave = partial(connection.fail, "the client left")
                connection.write(_head(scope))
                await connection.head()
            headers = [pair for pair in connection.headers if pair[0] not in _NOT_PASSED_BACK]
            started = True
            await send({"type": "http.response.start", "status": connection.status, "headers": headers})
            while (data := await connection.read()) is not None:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            client.stop()
            await send({"type": "http.response.body", "body": b""})
        except ClientLeft:
            return
        except UpstreamLost as lost:
            if client.left or started:
                return  # uvicorn closes the connection, which tells the browser that the page is not whole
            log.warning("the web service does not answer: %s", lost)
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"3")]
            await answer(send, 503, _DOWN.encode(), [*headers, (b"connection", b"close")])
        finally:
            client.stop()
            if connection is not None:
                connection.release()

    def _kept(self, scope: Scope) -> Connection | None:
        """A kept connection, only for requests without a body: those can be sent a second time."""
        if scope["method"] not in ("GET", "HEAD") or _declared_length(scope["headers"]):
            return None
        return self._upstream.idle(self._address, no_body=scope["method"] == "HEAD")

    async def _open(self, scope: Scope) -> Connection:
        return await self._upstream.open(self._address, no_body=scope["method"] == "HEAD")


async def _ask(scope: Scope, receive: Receive, client: Watch, connection: Connection) -> None:
    """Sends the request and returns when its answer begins. Raises ClientLeft and UpstreamLost."""
    connection.write(_head(scope))
    await _send_body(scope, receive, connection)
    client.on_leave = partial(connection.fail, "the client left")
    client.start()
    await connection.head()


def _head(scope: Scope) -> bytes:
    """The request's head as the web service sees it."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    lines = [b"%s %s%s HTTP/1.1" % (scope["method"].encode(), scope["raw_path"], query)]
    host = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        if name not in _NOT_PASSED_ON and not name.startswith(b"x-forwarded-"):
            lines.append(b"%s: %s" % (name, value))
    length = _declared_length(scope["headers"])
    if length:
        lines.append(length)
    address = scope["client"][0] if scope["client"] else ""
    lines += [
        b"x-forwarded-for: %s" % address.encode(),
        b"x-forwarded-proto: %s" % scope["scheme"].encode(),
        b"x-forwarded-host: %s" % host,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _declared_length(headers: Headers) -> bytes:
    """How the body is framed; the parser has refused a request that says it twice."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return b"transfer-encoding: chunked"
        if name == b"content-length":
            return b"content-length: %d" % int(value)
    return b""


async def _send_body(scope: Scope, receive: Receive, connection: Connection) -> None:
    """Passes the body on as it comes, as fast as the web service takes it. Raises ClientLeft."""
    chunked = _declared_length(scope["headers"]).startswith(b"transfer")
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body, more = message.get("body", b""), message.get("more_body", False)
        if body:
            connection.write(b"%x\r\n%s\r\n" % (len(body), body) if chunked else body)
            await connection.drained()
    if chunked:
        connection.write(b"0\r\n\r\n")
