"""One HTTP request and its answer, on bare ASGI: body in, one JSON or a stream of events out.

After the body was read, `left` is watched for the client's leaving: an engine must not go on for nobody.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from appliance.engines.wrong_body import first_wrong
from appliance.errors import Refusal, Refused, TryAgain, openai_error

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Body = TypeVar("Body", bound=BaseModel)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class BodyTooLarge(Refused):
    code: ClassVar[str] = "body_too_large"
    http_status: ClassVar[int] = 413


class NotJson(Refused):
    code: ClassVar[str] = "invalid_json"


class InvalidParameter(Refused):
    code: ClassVar[str] = "invalid_parameter"


class ClientLeft(Exception):
    """Nobody is there to answer; not an error."""


class Exchange:
    """Use `body_as` or `body` at most once, then exactly one of `answer` and `begin_stream`."""

    def __init__(self, scope: Message, receive: Receive, send: Send, body_limit_bytes: int) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.content_type: bytes = headers.get(b"content-type", b"")
        self.started = False
        self._declared_bytes = headers.get(b"content-length", b"0")
        self._receive = receive
        self._send = send
        self._body_limit_bytes = body_limit_bytes

    async def body_as(self, kind: type[Body]) -> Body:
        """The JSON body as `kind`. Raises BodyTooLarge, NotJson, InvalidParameter, ClientLeft."""
        try:
            given = orjson.loads(await self.body())
        except orjson.JSONDecodeError as error:
            raise NotJson(f"The body is not JSON: {error}.") from error
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            raise invalid_parameter(error, given) from error

    async def left(self) -> None:
        """Returns when the client has gone; only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(
        self,
        status: int,
        body: object,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        content_type: bytes = b"text/plain; version=0.0.4; charset=utf-8",
    ) -> None:
        """One whole answer: bytes as they are, of `content_type`, everything else as JSON."""
        if isinstance(body, bytes):
            content, kind = body, content_type
        else:
            content, kind = orjson.dumps(body), b"application/json"
        length = str(len(content)).encode()
        await self._begin(status, [(b"content-type", kind), (b"content-length", length), *headers])
        await self._send({"type": "http.response.body", "body": content})

    async def refuse(self, error: Refusal) -> None:
        headers = []
        if isinstance(error, TryAgain):
            headers.append((b"retry-after", str(max(1, round(error.retry_after_seconds))).encode()))
        await self.answer(error.http_status, openai_error(error), headers)

    async def begin_stream(self) -> None:
        await self._begin(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])

    async def send_events(self, events: Iterable[bytes]) -> None:
        """Server-sent events, in one write."""
        data = b"".join(b"data: " + event + b"\n\n" for event in events)
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self) -> None:
        await self._send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        headers.append((b"x-request-id", self.request_id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, limit_bytes: int | None = None) -> bytes:
        """The whole body, at most `limit_bytes` where another limit than the usual one holds.

        Raises BodyTooLarge, ClientLeft.
        """
        limit = limit_bytes or self._body_limit_bytes
        too_large = BodyTooLarge(f"The body has more than {limit} bytes.")
        if self._declared_bytes.isdigit() and int(self._declared_bytes[:20]) > limit:
            raise too_large
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large
            if not message.get("more_body"):
                return b"".join(parts)


def invalid_parameter(error: ValidationError, given: object = None) -> InvalidParameter:
    """Names the first parameter that is wrong, and how; `given` as in `first_wrong`."""
    wrong = first_wrong(error, given)
    return InvalidParameter(wrong.sentence, param=wrong.param)
