"""The NAS folder while somebody works in it: a backup, a model that comes from there, or several at once.

The machine has one place to mount it. Who comes first mounts, who goes last unmounts, in whatever process, so
a model that takes hours to copy keeps no backup waiting. An admin who chooses another target meanwhile wins:
it is mounted in the former one's place, whose readers get errors and try again.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from appliance.errors import Refusal
from appliance.host import Host, NasPlan
from appliance.keeping.places import keeping_dir
from appliance.settings import Settings


@contextmanager
def mounted_nas(settings: Settings, host: Host, plan: NasPlan) -> Iterator[Path]:
    """Where its files lie while the work lasts. Raises HostFailed, and what else the broker refuses with."""
    with (keeping_dir(settings) / "nas-users").open("w") as users:
        with _door(settings):
            if _is_alone(users):
                # what somebody left who was killed may be of a server that is gone
                host.unmount_nas()
            fcntl.flock(users, fcntl.LOCK_SH)
            folder = Path(host.mount_nas(plan))
        try:
            yield folder
        finally:
            with _door(settings):
                if _is_alone(users):
                    # what keeps a folder busy is over once its programs are; the next mount clears it away
                    with suppress(Refusal):
                        host.unmount_nas()


@contextmanager
def _door(settings: Settings) -> Iterator[None]:
    """One comes or goes at a time; as long as a mount takes."""
    with (keeping_dir(settings) / "nas-door").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield


def _is_alone(users: IO[str]) -> bool:
    """Whether nobody else works there. Whatever it says, our own lock may be gone then (flock(2))."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
