"""An engine runs with as little as it needs: the agent's root is for the tunnel, not for making tokens.

The engine becomes the user `cellule-worker`, or `nobody` where that doesn't exist, without any
capability, and ends when the agent does. Of groups it has those that own the devices which compute (render,
on most systems) and no other. Where that user may not read the program or the model (a clone in root's home),
it gets the one capability to read files, still writes none, and the log says so.
"""

import logging
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import appliance

log = logging.getLogger(__name__)

ACCOUNTS = ("cellule-worker", "nobody")
COMPUTING_DEVICES = ("dri/renderD*", "kfd", "accel/accel*", "nvidia*", "nvmap", "nvhost-*")
"""In /dev: graphics, AMD's ROCm, NPUs, NVIDIA, Jetson. A card's other node, dri/card*, is for screens: an
engine doesn't need it, and its group often has the cameras, too."""
_GROUP_READS_AND_WRITES, _OTHERS_READ_AND_WRITE = 0o060, 0o006
READ_ANY_FILE = "dac_read_search"


def confinement(model: Path, devices: Path = Path("/dev")) -> list[str]:
    """The words to put in front of an engine's command line."""
    if os.geteuid() != 0:
        return ["setpriv", "--no-new-privs", "--pdeathsig=TERM"]
    account = next(name for name in ACCOUNTS if _exists(name))
    groups = device_groups(devices)
    confined = _confined(account, groups, "-all")
    if _can_read(confined, model):
        return confined
    log.warning("the user %s can't read %s or the program: its engine may read every file", account, model)
    return _confined(account, groups, f"-all,+{READ_ANY_FILE}")


def device_groups(devices: Path) -> tuple[int, ...]:
    """The groups without which a computing device can't be opened; never root's."""
    nodes = (node.stat() for pattern in COMPUTING_DEVICES for node in devices.glob(pattern))
    return tuple(sorted({node.st_gid for node in nodes if _is_for_group(node)}))


def _is_for_group(node: os.stat_result) -> bool:
    opens = node.st_mode & _GROUP_READS_AND_WRITES == _GROUP_READS_AND_WRITES
    is_open_to_all = node.st_mode & _OTHERS_READ_AND_WRITE == _OTHERS_READ_AND_WRITE
    return opens and not is_open_to_all and node.st_gid != 0


def _confined(account: str, groups: Sequence[int], capabilities: str) -> list[str]:
    # setpriv(1) becomes the program itself, so there is no process in between
    return [
        "setpriv",
        "--no-new-privs",
        "--pdeathsig=TERM",
        f"--reuid={account}",
        f"--regid={pwd.getpwnam(account).pw_gid}",
        f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
        f"--bounding-set={capabilities}",
    ]


def _can_read(confined: list[str], model: Path) -> bool:
    package = Path(appliance.__file__)
    conditions = ["-x", sys.executable, "-a", "-r", str(package), "-a", "-r", str(model)]
    return subprocess.run([*confined, "test", *conditions], check=False).returncode == 0


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
