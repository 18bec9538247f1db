"""Reading an answer as it passes: whole SSE events out, the token usage noted, our own usage chunk taken out.

Bytes that are passed on are never changed. An event that arrives in pieces is passed on when it is
whole, so that whatever follows a broken stream starts on a clean line.
"""

import re
from collections.abc import Sequence
from json import JSONDecodeError, JSONDecoder

import orjson

from appliance.engines.options import TOKENS_HEADER

_USAGE = b'"usage"'
_TWO_NUMBERS = re.compile(rb"(\d{1,15}) (\d{1,15})")
_decode = JSONDecoder().raw_decode


class BadStream(Exception):
    """An event grew beyond all measure."""


_EVENT_LIMIT = 4 * 1024 * 1024


class EventFilter:
    """Takes the body of a stream in any pieces; `usage` is (tokens in, tokens out) once it was seen."""

    __slots__ = ("_drop_usage", "_rest", "events", "usage")

    def __init__(self, *, drop_usage: bool) -> None:
        self._drop_usage = drop_usage
        self._rest = b""
        self.events = 0
        self.usage: tuple[int, int] | None = None

    def feed(self, data: bytes) -> bytes:
        """The bytes to pass on now, possibly none. Raises BadStream."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not data.endswith(b"\n\n"):
            whole = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4, 1)
            if whole in (1, 3):  # neither separator was found
                whole = 0
            self._rest = data[whole:]
            if len(self._rest) > _EVENT_LIMIT:
                raise BadStream
            data = data[:whole]
        self.events += data.count(b"data: ")
        return self._without_usage(data) if _USAGE in data else data

    def end(self) -> bytes:
        """What was left without the blank line that ends an event."""
        rest, self._rest = self._rest, b""
        return rest

    def _without_usage(self, data: bytes) -> bytes:
        separator = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
        return separator.join(event for event in data.split(separator) if not self._is_ours(event))

    def _is_ours(self, event: bytes) -> bool:
        if not event.startswith(b"data:") or _USAGE not in event:
            return False
        try:
            chunk = orjson.loads(event[5:])
        except orjson.JSONDecodeError:
            return False
        if not isinstance(chunk, dict) or (counted := _counts(chunk.get("usage"))) is None:
            return False
        self.usage = counted
        ours = self._drop_usage and chunk.get("choices") == []
        self.events -= ours
        return ours


def usage_of_answer(body: bytes) -> tuple[int, int] | None:
    """(tokens in, tokens out) of a whole answer's `usage`; None if it has none. Reads only that part,
    for the quotes of the key can't stand in a JSON string unescaped."""
    start = body.rfind(_USAGE)
    if start < 0:
        return None
    tail = body[start + len(_USAGE) :].lstrip(b" \t\r\n:").decode("utf-8", "replace")
    try:
        usage, _ = _decode(tail)
    except JSONDecodeError:
        return None
    return _counts(usage)


def usage_of_headers(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, int] | None:
    """(tokens in, tokens out) of an answer whose body does not tell them; None without the header."""
    for name, value in headers:
        if name == TOKENS_HEADER:
            match = _TWO_NUMBERS.fullmatch(value)
            return (int(match[1]), int(match[2])) if match else None
    return None


def _counts(usage: object) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    read, made = usage.get("prompt_tokens", 0), usage.get("completion_tokens") or 0
    if type(read) is int and type(made) is int and 0 <= read < 2**53 and 0 <= made < 2**53:
        return read, made
    return None
