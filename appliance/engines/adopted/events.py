"""Server-sent events out of an adopted server's stream, in whatever pieces the bytes come."""

from collections.abc import Iterator
from typing import Any

import orjson

from appliance.engines.adopted.translating import BadAnswer

_EVENT_LIMIT_BYTES = 4 * 1024 * 1024
_DONE = b"[DONE]"


class Events:
    """Feed it bytes; it gives the JSON objects of whole events. Comments and unknown lines pass by."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False
        """Whether the server said that nothing follows."""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Raises BadAnswer for an event that is no JSON object, or that has no end."""
        data = (self._rest + data).replace(b"\r\n", b"\n")
        *whole, self._rest = data.split(b"\n\n")
        if len(self._rest) > _EVENT_LIMIT_BYTES:
            raise BadAnswer("an event of its stream has no end")
        return list(self._objects(whole))

    def end(self) -> list[dict[str, Any]]:
        """What was left without the blank line that ends an event."""
        rest, self._rest = self._rest, b""
        return list(self._objects([rest]))

    def _objects(self, events: list[bytes]) -> Iterator[dict[str, Any]]:
        for event in events:
            lines = [line for line in event.split(b"\n") if line.startswith((b"data:", b"error:"))]
            if not lines:
                continue
            payload = b"\n".join(line.partition(b":")[2].strip() for line in lines)
            if payload == _DONE:
                self.done = True
                continue
            try:
                given = orjson.loads(payload)
            except orjson.JSONDecodeError:
                raise BadAnswer("an event of its stream is no JSON") from None
            if not isinstance(given, dict):
                raise BadAnswer("an event of its stream is no object")
            yield {"error": given} if lines[0].startswith(b"error:") and "error" not in given else given
