"""An engine runs with as little as it needs: the agent's root is for the tunnel, not for making tokens.

The engine becomes the user `cellule-worker`, or `nobody` where that doesn't exist, without any
capability, and ends when the agent does. Where that user may not read the program or the model (a clone
in root's home), it gets the one capability to read files, still writes none, and the log says so.
"""

import logging
import os
import pwd
import subprocess
import sys
from pathlib import Path

import appliance

log = logging.getLogger(__name__)

ACCOUNTS = ("cellule-worker", "nobody")
READ_ANY_FILE = "dac_read_search"


def confinement(model: Path) -> list[str]:
    """The words to put in front of an engine's command line."""
    if os.geteuid() != 0:
        return ["setpriv", "--no-new-privs", "--pdeathsig=TERM"]
    account = next(name for name in ACCOUNTS if _exists(name))
    confined = _confined(account, "-all")
    if _can_read(confined, model):
        return confined
    log.warning("the user %s can't read %s or the program: its engine may read every file", account, model)
    return _confined(account, f"-all,+{READ_ANY_FILE}")


def _confined(account: str, capabilities: str) -> list[str]:
    # setpriv(1) becomes the program itself, so there is no process in between
    return [
        "setpriv",
        "--no-new-privs",
        "--pdeathsig=TERM",
        f"--reuid={account}",
        f"--regid={pwd.getpwnam(account).pw_gid}",
        "--clear-groups",
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
