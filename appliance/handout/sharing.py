"""Which workers fetch a model from each other. Pure.

All who have a model or want it stand in a ring, ordered by a hash of model and worker, and each is linked
with its nearest neighbours on both sides. So links go both ways, nobody has more than a few of them, and of
many workers that have a model each new one asks others. Two that lack nothing need no link.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

NEIGHBOURS_ON_EACH_SIDE = 2


@dataclass(frozen=True)
class Holder:
    """A worker that has a model, or wants it and has a part of it."""

    worker_id: str
    is_complete: bool


@dataclass(frozen=True)
class Ring:
    """`links` are pairs of worker ids, each in both orders; `fetching` the ids that still want pieces."""

    links: frozenset[tuple[str, str]]
    fetching: tuple[str, ...]


def share_out(digest: str, holders: Sequence[Holder], avoided: Collection[tuple[str, str]] = ()) -> Ring:
    """Who is linked with whom for the model `digest`; `avoided` are pairs that distrust one another."""
    ring = sorted(holders, key=lambda holder: _place(digest, holder.worker_id))
    apart = {frozenset(pair) for pair in avoided}
    links = set()
    for index, one in enumerate(ring):
        for step in range(1, min(NEIGHBOURS_ON_EACH_SIDE, len(ring) - 1) + 1):
            other = ring[(index + step) % len(ring)]
            if one.is_complete and other.is_complete:
                continue
            if one.worker_id != other.worker_id and frozenset((one.worker_id, other.worker_id)) not in apart:
                links |= {(one.worker_id, other.worker_id), (other.worker_id, one.worker_id)}
    return Ring(frozenset(links), tuple(each.worker_id for each in ring if not each.is_complete))


@lru_cache(maxsize=8192)
def _place(digest: str, worker_id: str) -> bytes:
    return hashlib.sha256(f"{digest} {worker_id}".encode()).digest()
