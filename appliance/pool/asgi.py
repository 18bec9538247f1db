"""The little of ASGI that the pool needs: whole bodies with limits, whole answers, and who has left.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

import orjson

from appliance.errors import Refusal, Refused, TryAgain, openai_error

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class ClientLeft(Exception):
    """The client closed its connection; nobody is there to read an answer."""


class BodyTooLarge(Refused):
    code = "request_too_large"
    http_status = 413

    @classmethod
    def than(cls, limit: int) -> Self:
        return cls(f"The request body is larger than {limit} bytes.", next_step="Send a shorter one.")


class BodyTooSlow(Refused):
    code = "request_timeout"
    http_status = 408

    @classmethod
    def than(cls, seconds: float) -> Self:
        return cls(f"The request body did not arrive within {seconds:g} s.", next_step="Send it again.")


async def read_body(receive: Receive, headers: Headers, limit: int, seconds: float) -> bytes:
    """The request's whole body.

    Raises BodyTooLarge (before it is there, where its length is declared), BodyTooSlow, ClientLeft.
    """
    if int(dict(headers).get(b"content-length", b"0")) > limit:
        raise BodyTooLarge.than(limit)
    body, more = b"", True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                body, more = body + message.get("body", b""), message.get("more_body", False)
                if len(body) > limit:
                    raise BodyTooLarge.than(limit)
    except TimeoutError:
        raise BodyTooSlow.than(seconds) from None
    return body


class Watch:
    """Notices when the client of an ASGI request leaves, from `start` to `stop`.

    It steps `receive()` itself instead of running it in a task, which would cost several times as much.
    """

    def __init__(self, receive: Receive) -> None:
        self.left = False
        self.on_leave: Callable[[], None] | None = None
        self._receive = receive
        self._receiving: Coroutine[Any, Any, Message] | None = None

    def start(self) -> None:
        """Call it once the request's body was read."""
        self._receiving = self._receive()
        self._step(None)

    def stop(self) -> None:
        """Call it before the last part of the answer is sent."""
        if self._receiving is not None:
            receiving, self._receiving = self._receiving, None
            receiving.close()

    def _step(self, _future: object) -> None:
        while self._receiving is not None:
            try:
                future = self._receiving.send(None)
            except StopIteration as received:
                left = received.value["type"] == "http.disconnect"
                self._receiving = None if left else self._receive()
                self.left = left
                if left and self.on_leave is not None:
                    self.on_leave()
            else:
                future.add_done_callback(self._step)
                return


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Sends one whole response with its length."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_refusal(send: Send, error: Refusal, headers: Headers, *, close: bool = False) -> None:
    """Sends a refusal as an OpenAI error object. `close` when the request's body was left unread."""
    headers = refusal_headers(error, headers)
    if close:
        headers.append((b"connection", b"close"))
    await answer(send, error.http_status, refusal_body(error), headers)


def refusal_headers(error: Refusal, headers: Headers) -> Headers:
    """The headers of a refusal's response."""
    headers = [JSON, *headers]
    if isinstance(error, TryAgain):
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_seconds + 0.5))))
    return headers


def refusal_body(error: Refusal) -> bytes:
    """A refusal as an OpenAI error object."""
    return orjson.dumps(openai_error(error))
