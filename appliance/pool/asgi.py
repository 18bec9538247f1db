"""The little of ASGI that the pool needs: whole bodies with limits, whole answers, and who has left.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import orjson

from appliance.errors import Refusal, Refused, TryAgain, openai_error

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class ClientLeft(Exception):
    """The client closed its connection; nobody is there to read an answer."""


class BodyTooLarge(Refused):
    code = "request_too_large"
    http_status = 413


class BodyTooSlow(Refused):
    code = "request_timeout"
    http_status = 408


async def read_body(
    receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int, seconds: float
) -> bytes:
    """The request's whole body. Raises BodyTooLarge (before reading where the length is declared),
    BodyTooSlow and ClientLeft."""
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)
    message = await _first_part(receive, seconds)
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(seconds):
                body = await _rest_of_body(receive, body, limit)
        except TimeoutError:
            raise _too_slow(seconds) from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _first_part(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise _too_slow(seconds) from None


async def _rest_of_body(receive: Receive, start: bytes, limit: int) -> bytes:
    parts = bytearray(start)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts += message.get("body", b"")
        if len(parts) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request body is larger than {limit} bytes.", next_step="Send a shorter request."
    )


def _too_slow(seconds: float) -> BodyTooSlow:
    return BodyTooSlow(
        f"The request body did not arrive within {seconds:g} seconds.", next_step="Send it again."
    )


class Watch:
    """Notices the client's leaving while the pool waits for something else.

    Until `stop`, `receive()` is kept waiting; when it answers that the client is gone, `on_leave` is
    called once. It steps the coroutine itself, for a task per request costs more than the rest of admission.
    """

    __slots__ = ("_waiting", "left", "on_leave")

    def __init__(self, receive: Receive) -> None:
        self.left = False
        self.on_leave: Callable[[], None] | None = None
        self._waiting: Coroutine[Any, Any, Message] | None = receive()
        self._step(None)

    def _step(self, _future: object) -> None:
        if self._waiting is None:
            return
        try:
            future = self._waiting.send(None)
        except StopIteration:  # nothing but http.disconnect can follow the end of the body
            self._waiting = None
            self.left = True
            if self.on_leave is not None:
                self.on_leave()
            return
        future.add_done_callback(self._step)

    def stop(self) -> None:
        """Ends the watch; call it before the last part of the answer is sent."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.close()


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Sends one whole response with its length."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_refusal(send: Send, error: Refusal, headers: Headers, *, close: bool = False) -> None:
    """Sends a refusal as an OpenAI error object. `close` when the request's body was left unread."""
    headers = [JSON, *headers]
    if isinstance(error, TryAgain):
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_seconds + 0.5))))
    if close:
        headers.append((b"connection", b"close"))
    await answer(send, error.http_status, orjson.dumps(openai_error(error)), headers)
