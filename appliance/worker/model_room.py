"""Whether a model fits on this machine's disk, and which unused ones must go for it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

GB = 1_000_000_000


@dataclass(frozen=True)
class Unused:
    """A model that nothing runs and nobody wants here; `frees_bytes` are those of its files alone."""

    digest: str
    frees_bytes: int
    used_at: float


@dataclass(frozen=True)
class Room:
    """`remove` are digests, to be removed only when `trouble` is empty: a sentence why it does not fit."""

    remove: tuple[str, ...] = ()
    trouble: str = ""


def make_room(
    needed_bytes: int,
    *,
    free_bytes: int,
    keep_free_bytes: int,
    stored_bytes: int,
    quota_bytes: int,
    unused: Sequence[Unused],
) -> Room:
    """What to remove, the longest unused first, and no more than needed; `quota_bytes` 0 is none."""
    lacking = max(
        needed_bytes + keep_free_bytes - free_bytes,
        stored_bytes + needed_bytes - quota_bytes if quota_bytes else 0,
    )
    remove: list[str] = []
    for model in sorted(unused, key=lambda each: each.used_at):
        if lacking <= 0:
            break
        remove.append(model.digest)
        lacking -= model.frees_bytes
    if lacking > 0:
        return Room(
            trouble=f"The model needs {needed_bytes / GB:.1f} GB of the disk; of the {free_bytes / GB:.1f} GB"
            f" that are free {lacking / GB:.1f} GB too little may be used."
        )
    return Room(remove=tuple(remove))
