"""Which piece to ask for next, and from whom: pure rules over maps of pieces.

The box gives what no reachable worker has, so that each piece leaves it about once however many fetch:
each worker first asks the box for its own part of the pieces, in order, and then for the others' from
their ends, where their owners come last. What a worker has is asked from workers, the rarest first. Only
when the box has been idle for us for a while may it give a piece that others have: they may be slow.
"""

from collections.abc import Sequence

MISSING, COMING, HERE = 0, 1, 2
"""A map holds one of these bytes for each piece of a file."""

Map = bytes | bytearray | memoryview


def from_worker(own: Map, offered: Map, all_offered: Sequence[Map], start: int) -> int | None:
    """The piece to ask of the worker that offers `offered`: the rarest that we lack.

    `all_offered` are the maps of all workers that we reach; equal ones are taken from `start` on, so that
    two who ask one worker don't ask for the same.
    """
    count = len(own)
    best, best_rarity = None, len(all_offered) + 1
    for step in range(count):
        index = (start + step) % count
        if own[index] != MISSING or offered[index] != HERE:
            continue
        rarity = sum(each[index] == HERE for each in all_offered)
        if rarity < best_rarity:
            best, best_rarity = index, rarity
            if rarity <= 1:
                break
    return best


def from_box(own: Map, all_offered: Sequence[Map], part: tuple[int, int], *, is_patient: bool) -> int | None:
    """The piece to ask of the box; `part` is ours: number and how many parts there are.

    A patient worker leaves to others what they have or are just getting; None means: wait.
    """
    order = _own_part_first(len(own), *part)
    missing = [index for index in order if own[index] == MISSING]
    nowhere = (index for index in missing if all(each[index] == MISSING for each in all_offered))
    found = next(nowhere, None)
    if found is None and not is_patient:
        found = min(missing, key=lambda index: sum(each[index] for each in all_offered), default=None)
    return found


def _own_part_first(count: int, number: int, of: int) -> list[int]:
    bounds = [count * each // of for each in range(of + 1)]
    order = list(range(bounds[number], bounds[number + 1]))
    for step in range(1, of):
        other = (number + step) % of
        order += range(bounds[other + 1] - 1, bounds[other] - 1, -1)
    return order
