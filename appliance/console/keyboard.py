"""Keys out of the bytes that a terminal sends (ECMA-48, xterm's and the Linux console's sequences). Pure.

A lone escape can't be told from the start of a sequence until a moment has passed without another byte: the
caller waits ESCAPE_SECONDS and calls `flush`. A sequence that isn't known here is no key at all.
"""

import re

ESCAPE_SECONDS = 0.1
REPAINT = "repaint"
_CONTROLS = {
    0x03: "escape",
    0x08: "backspace",
    0x09: "tab",
    0x0A: "enter",
    0x0C: REPAINT,
    0x0D: "enter",
    0x7F: "backspace",
}
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left", b"Z": "up"}
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*([@-~])|O(.)|([^\[O\x1b]))", re.DOTALL)
_LONGEST_SEQUENCE = 32


def decode(pending: bytes) -> tuple[list[str], bytes]:
    """The keys in `pending` and what is left of it: the start of something longer."""
    keys: list[str] = []
    while pending:
        if pending[0] == 0x1B:
            found = _SEQUENCE.match(pending)
            if found is None:
                if len(pending) > 1 and (pending[1] == 0x1B or len(pending) > _LONGEST_SEQUENCE):
                    keys.append("escape")
                    pending = pending[1:]
                    continue
                break
            if arrow := _ARROWS.get(found[1] or found[2] or b""):
                keys.append(arrow)
            pending = pending[found.end() :]
            continue
        length = _utf8_length(pending[0])
        if len(pending) < length:
            break
        keys += _key(pending[:length])
        pending = pending[length:]
    return keys, pending


def flush(pending: bytes) -> list[str]:
    """The keys when nothing follows: a lone escape is the escape key, half a character is nothing."""
    return ["escape"] if pending == b"\x1b" else []


def _key(encoded: bytes) -> list[str]:
    if encoded[0] in _CONTROLS:
        return [_CONTROLS[encoded[0]]]
    try:
        char = encoded.decode()
    except UnicodeDecodeError:
        return []
    return [char] if char.isprintable() else []


def _utf8_length(first: int) -> int:
    """RFC 3629; 1 for what can't begin a character, which decodes to nothing."""
    return 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 1
