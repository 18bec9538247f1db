"""The bytes that turn one screen into the next: only what differs is sent, so nothing flickers. Pure.

A line at 115,200 baud carries 11 characters a millisecond: a whole screen takes a sixth of a second, a
changed figure nothing that one sees, and a screen on which nothing happens costs no byte at all.
"""

from itertools import groupby, takewhile

from appliance.console.qr import REVERSED

START = "\x1b%G\x1b[?25l\x1b[?7l\x1b[0;37;40m\x1b[2J"
"""UTF-8, no cursor, no wrapping, bright on dark for the QR code's sake, an empty screen."""
END = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[2J\x1b[H"


def changes(before: list[str], after: list[str]) -> str:
    """What to send when the screen shows `before`; both have a line for each row."""
    return "".join(
        _line(row, old, new)
        for row, (old, new) in enumerate(zip(before, after, strict=True), start=1)
        if old != new
    )


def _line(row: int, old: str, new: str) -> str:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
    start = sum(1 for _ in same)
    end = len(new)
    if len(old) == len(new):
        while end > start and old[end - 1] == new[end - 1]:
            end -= 1
    erase = "\x1b[K" if len(new) < len(old) else ""
    return f"\x1b[{row};{start + 1}H{_encoded(new[start:end])}{erase}"


def _encoded(piece: str) -> str:
    return "".join(
        f"\x1b[7m{' ' * len(list(run))}\x1b[27m" if is_reversed else "".join(run)
        for is_reversed, run in groupby(piece, lambda char: char == REVERSED)
    )
