"""An engine runs with as little as it needs: the agent's root is for the tunnel, not for reading models.

The engine becomes the user `cellule-worker`, or `nobody` where that doesn't exist, without any
capability, and ends when the agent does. Where that user can't read the program or the model (a clone in
root's home), the engine keeps the agent's user, still without capabilities, and the log says so.
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
# setpriv(1) becomes the program itself, so there is no process in between
_CONFINED = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--pdeathsig=TERM")


def confinement(model: Path) -> list[str]:
    """The words to put in front of an engine's command line."""
    if os.geteuid() != 0:
        return ["setpriv", "--no-new-privs", "--pdeathsig=TERM"]
    account = next(name for name in ACCOUNTS if _exists(name))
    as_account = [
        *_CONFINED,
        f"--reuid={account}",
        f"--regid={pwd.getpwnam(account).pw_gid}",
        "--clear-groups",
    ]
    if _can_read(as_account, model):
        return as_account
    log.warning("the user %s can't read %s or the program: the engine runs as root", account, model)
    return list(_CONFINED)


def _can_read(as_account: list[str], model: Path) -> bool:
    package = Path(appliance.__file__)
    conditions = ["-x", sys.executable, "-a", "-r", str(package), "-a", "-r", str(model)]
    return subprocess.run([*as_account, "test", *conditions], check=False).returncode == 0


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
