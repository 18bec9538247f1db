"""Where keeping works: one folder on the data partition, and one lock for whoever works there.

keeping/snapshot   what the next backup is made of, taken while the box runs
keeping/scratch    where a backup is unpacked to be checked
keeping/incoming   a checked backup that waits to be swapped in
keeping/former     what the last restore replaced, as long as there is a way back
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Refused, TryAgain
from appliance.settings import Settings

RESERVE_BYTES = 64 * 2**20
"""What is left free for the running box, whatever keeping does."""


class NotEnoughSpace(Refused):
    """The data partition has no room for the work; nothing was begun."""

    code = "keeping_disk_full"
    http_status = 507


class KeepingBusy(TryAgain):
    """Another backup, drill or restore is at work."""

    code = "keeping_busy"
    http_status = 409


def keeping_dir(settings: Settings) -> Path:
    """Made when it is first asked for; for the service user alone."""
    folder = settings.state_dir / "keeping"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def at_work(settings: Settings) -> Iterator[None]:
    """Nobody else takes snapshots, unpacks or stages meanwhile, in any process. Raises KeepingBusy."""
    with (keeping_dir(settings) / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeepingBusy(
                "A backup, a restore drill or a restore is running.",
                retry_after_seconds=30,
                next_step="Wait until it has ended.",
            ) from None
        yield


def empty_folder(settings: Settings, name: str) -> Path:
    """A fresh folder of that name; what a run that was cut off left there is gone."""
    folder = keeping_dir(settings) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raises NotEnoughSpace unless `needed_bytes` and the reserve are free where `folder` lies."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + RESERVE_BYTES:
        raise NotEnoughSpace(
            f"The box needs {_megabytes(needed_bytes + RESERVE_BYTES)} MB free for this and has "
            f"{_megabytes(free_bytes)} MB.",
            next_step="Remove models that nobody uses, then try again. Nothing was changed.",
        )


def _megabytes(size_bytes: int) -> int:
    return -(-size_bytes // 2**20)
