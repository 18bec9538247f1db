"""A QR code as lines of text: two rows of modules in one line of half blocks, or one in reversed blanks.

Light modules are drawn bright, for the screen is dark; around them the light frame that scanners need.
"""

from functools import lru_cache

import segno

REVERSED = "\ue000"
"""A blank with the colours of text and ground exchanged: what terminals without block characters can draw."""
_FRAME = 2
_HALVES = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


@lru_cache(maxsize=8)
def half_blocks(url: str) -> tuple[str, ...]:
    """21 modules and the frame are 25 columns and 13 lines for `https://` and an IPv4 address."""
    rows = _light(url)
    if len(rows) % 2:
        rows = [*rows, [False] * len(rows[0])]
    return tuple(
        "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )


@lru_cache(maxsize=8)
def blanks(url: str) -> tuple[str, ...]:
    """Two columns and one line a module; the frame is one module so that 23 lines hold it."""
    rows = (row[1:-1] for row in _light(url)[1:-1])
    return tuple("".join((REVERSED if light else " ") * 2 for light in row) for row in rows)


def _light(url: str) -> list[list[bool]]:
    # case means nothing in scheme and host, and capitals make the smallest code (ISO/IEC 18004, alphanumeric)
    code = segno.make(url.upper().rstrip("/"), micro=False, error="l")
    return [[not dark for dark in row] for row in code.matrix_iter(border=_FRAME)]
