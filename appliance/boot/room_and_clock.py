"""What no check of a start is about, for console and pages: a disk without room, a wrong clock."""

import os
from pathlib import Path

from appliance.boot.places import built_at

FULL_BELOW_BYTES = 256 * 2**20


def room_when_short(folder: Path) -> int | None:
    """Bytes that are free there, None while that is enough or can't be told."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    free = room.f_bavail * room.f_frsize
    return free if free < FULL_BELOW_BYTES else None


def is_wrong_clock(at: float) -> bool:
    """Whether `at`, epoch seconds, is before this release was built."""
    return at < built_at()
