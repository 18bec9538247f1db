"""Which of two releases is the newer one: in the order of the boot loader, so that both always agree. Pure.

The UAPI version format specification (https://uapi-
group.org/specifications/specs/version_format_specification/) for the characters that a release may have:
1.4.0~rc1 is older than 1.4.0, and 1.4.0-1 is newer than both.
"""

import re

_PARTS = re.compile(r"[0-9]+|[A-Za-z]+|[~.-]")
_RANK_OF_SEPARATOR = {"~": 0, "-": 2, ".": 3}
_RANK_OF_THE_END = 1
_RANK_OF_LETTERS = 4
_RANK_OF_A_NUMBER = 5

Place = tuple[tuple[int, int, str], ...]


def place_of(version: str) -> Place:
    """A key to sort by, the newest last."""
    return (*(_place(part) for part in _PARTS.findall(version)), (_RANK_OF_THE_END, 0, ""))


def is_newer(version: str, than: str) -> bool:
    """Whether `version` comes after `than`."""
    return place_of(version) > place_of(than)


def _place(part: str) -> tuple[int, int, str]:
    if part.isdigit():
        return _RANK_OF_A_NUMBER, int(part), ""
    return _RANK_OF_SEPARATOR.get(part, _RANK_OF_LETTERS), 0, part
