"""Long texts in parts, which llama.cpp tokenizes one after the other to the same tokens as the whole. Pure.

From each special token that it finds, llama.cpp looks for the next one of every other kind up to the end of
the text: a text with many takes time by the square of its length, minutes for a few megabytes of a pasted
training set. A part begins where such a token begins, which nothing before it can reach into.
"""

import re
from collections.abc import Iterable

WHOLE_BYTES = 16_384
"""Up to here a text is one part."""
LEAST_PART_BYTES = 512
_IN_BRACKETS = re.compile(rb"<[^<>\s]+>|\[[A-Z_]+\]|<\xef\xbd\x9c[^<>]*\xef\xbd\x9c>")
"""Two such tokens are never one over the other; of tokens that are spaces or line ends two may be."""


def beginnings(special: Iterable[bytes]) -> re.Pattern[bytes] | None:
    """Finds the places where a part may begin, of the texts of special tokens; None where there is none."""
    fit = sorted(filter(_IN_BRACKETS.fullmatch, special), key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, fit))) if fit else None


def parts_of(data: bytes, where: re.Pattern[bytes]) -> list[bytes]:
    """`data` in its order, each part of LEAST_PART_BYTES or more but the last."""
    parts, start = [], 0
    while found := where.search(data, start + LEAST_PART_BYTES):
        parts.append(data[start : found.start()])
        start = found.start()
    return [*parts, data[start:]]
