"""Which piece to ask for next, and from whom: pure rules over maps of pieces.

The box gives what no reachable worker has, so that each piece leaves it about once however many fetch:
each worker first asks the box for its own part of the pieces, in order, and then for the others' from
their ends, where their owners come last. What a worker has is asked from workers, the rarest first. Only
when the box has been idle for us for a while may it give a piece that others have: they may be slow.
"""

from collections.abc import Sequence
from functools import lru_cache

MISSING, COMING, HERE = 0, 1, 2
"""A map holds one of these bytes for each piece of a file."""

Map = bytes | bytearray | memoryview

# maps are added byte by byte as one large number each: a model may have thousands of pieces, and no byte
# overflows with as few workers as a worker is linked with
_OUT_OF_THE_QUESTION = 0xFF
_IS_HERE = bytes([0, 0, 1]).ljust(256, b"\0")
_NOT_MISSING = bytes([0]).ljust(256, b"\xff")
_NOT_HERE = bytes([_OUT_OF_THE_QUESTION, _OUT_OF_THE_QUESTION, 0]).ljust(256, b"\xff")


def from_worker(own: Map, offered: Map, all_offered: Sequence[Map], start: int) -> int | None:
    """The piece to ask of the worker that offers `offered`: the rarest that we lack.

    `all_offered` are the maps of all workers that we reach; equally rare ones are taken from `start` on, so
    that two who ask one worker don't ask for the same.
    """
    count = len(own)
    rarity = sum(_number(bytes(each).translate(_IS_HERE)) for each in all_offered)
    excluded = _number(bytes(own).translate(_NOT_MISSING)) | _number(bytes(offered).translate(_NOT_HERE))
    cost = (rarity | excluded).to_bytes(count)
    turned = cost[start:] + cost[:start]
    best = min(turned, default=_OUT_OF_THE_QUESTION)
    return None if best == _OUT_OF_THE_QUESTION else (turned.index(best) + start) % count


def from_box(own: Map, all_offered: Sequence[Map], part: tuple[int, int], *, is_patient: bool) -> int | None:
    """The piece to ask of the box; `part` is ours: number and how many parts there are.

    A patient worker leaves to others what they have or are just getting; None means: wait.
    """
    order = _own_part_first(len(own), *part)
    elsewhere = sum(_number(each) for each in all_offered)
    cost = (elsewhere | _number(bytes(own).translate(_NOT_MISSING))).to_bytes(len(own))
    ordered = bytes(map(cost.__getitem__, order))
    best = 0 if is_patient else min(ordered, default=_OUT_OF_THE_QUESTION)
    found = -1 if best == _OUT_OF_THE_QUESTION else ordered.find(best)
    return None if found < 0 else order[found]


def _number(states: Map) -> int:
    return int.from_bytes(states)


@lru_cache(maxsize=16)
def _own_part_first(count: int, number: int, of: int) -> tuple[int, ...]:
    bounds = [count * each // of for each in range(of + 1)]
    order = list(range(bounds[number], bounds[number + 1]))
    for step in range(1, of):
        other = (number + step) % of
        order += range(bounds[other + 1] - 1, bounds[other] - 1, -1)
    return tuple(order)
