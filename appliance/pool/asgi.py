"""The little of ASGI that the pool needs: whole bodies with limits, whole answers, and who has left.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

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


class BodyTooSlow(Refused):
    code = "request_timeout"
    http_status = 408


class Client:
    """What comes from the client of one request: its body, and then its leaving.

    It steps `receive()` itself instead of running it in a task, and a body that has arrived already is
    taken without waiting: a task and a timeout for each request would cost more than all of admission.
    """

    __slots__ = (
        "_complete",
        "_limit",
        "_news",
        "_parts",
        "_receive",
        "_receiving",
        "_size",
        "left",
        "on_leave",
    )

    def __init__(self, receive: Receive, limit: int) -> None:
        self.left = False
        self.on_leave: Callable[[], None] | None = None
        """Called once when the client goes away between `watch` and `stop`."""
        self._receive = receive
        self._receiving: Coroutine[Any, Any, Message] | None = None
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._complete = False
        self._news: asyncio.Future[None] | None = None

    async def body(self, headers: Iterable[tuple[bytes, bytes]], seconds: float) -> bytes:
        """The whole body; the client is watched from here on.

        Raises BodyTooLarge (before it is there, where its length is declared), BodyTooSlow, ClientLeft.
        """
        for name, value in headers:
            if name == b"content-length" and int(value) > self._limit:
                raise _too_large(self._limit)
        self.watch()
        if not self._complete and not self.left:
            self._news = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._news, seconds)
            except TimeoutError:
                raise _too_slow(seconds) from None
            finally:
                self._news = None
        if self.left:
            raise ClientLeft
        if self._size > self._limit:
            raise _too_large(self._limit)
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def watch(self) -> None:
        """Notices the client's leaving from now on."""
        self._receiving = self._receive()
        self._step(None)

    def stop(self) -> None:
        """Ends the watch; call it before the last part of the answer is sent."""
        if self._receiving is not None:
            receiving, self._receiving = self._receiving, None
            receiving.close()

    def _step(self, _future: object) -> None:
        while self._receiving is not None:
            try:
                future = self._receiving.send(None)
            except StopIteration as received:
                self._receiving = None
                self._take(received.value)
            else:
                future.add_done_callback(self._step)
                return

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.left = True
            if self.on_leave is not None:
                self.on_leave()
        else:
            part: bytes = message.get("body", b"")
            self._size += len(part)
            if self._size <= self._limit:
                self._parts.append(part)
            self._complete = self._size > self._limit or not message.get("more_body")
            self._receiving = self._receive()
        if (self.left or self._complete) and self._news is not None and not self._news.done():
            self._news.set_result(None)


async def read_body(
    receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int, seconds: float
) -> bytes:
    """The request's whole body, for those who need not know when the client leaves. Raises as Client.body."""
    client = Client(receive, limit)
    try:
        return await client.body(headers, seconds)
    finally:
        client.stop()


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit} bytes.", next_step="Send a shorter one.")


def _too_slow(seconds: float) -> BodyTooSlow:
    return BodyTooSlow(f"The request body did not arrive within {seconds:g} s.", next_step="Send it again.")


def step(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Future[None] | None":
    """Runs `coroutine` at once as far as it goes; None if that was to its end, else a future of its end.

    Sending mostly ends at once, and then a task for it would cost several times the sending itself.
    """
    try:
        future = coroutine.send(None)
    except StopIteration:
        return None
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def go_on(_future: object) -> None:
        try:
            coroutine.send(None).add_done_callback(go_on)
        except StopIteration:
            if not ended.done():
                ended.set_result(None)

    future.add_done_callback(go_on)
    return ended


async def send_both(send: Send, start: Message, body: Message) -> None:
    """Sends the head of a response and the first part of its body."""
    await send(start)
    await send(body)


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
