"""Mounts a NAS folder for the service user: never executable, no devices, giving up on a server that stalls.

One at a time, at a place of its own. systemd mounts it: the core would not see a mount of this process's own.
The password goes through a file that only root reads and that is gone once mount.cifs has read it
(mount.cifs(8), credentials=).
"""

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.host.contract import HostFailed, Unsupported
from appliance.host.linux.commands import attempt
from appliance.host.nas import NasKind, NasPlan

NAS_DIR = Path("/run/cellule-nas")
SERVICE_USER = "cellule"
_UNIT = r"run-cellule\x2dnas.mount"
_CONFINED = "nosuid,nodev,noexec"
# a server that is gone must not keep the folder in the mount table
_PROPERTIES = ("TimeoutSec=15", "LazyUnmount=yes", "ForceUnmount=yes")


def mount_nas(plan: NasPlan) -> str:
    """Where the folder lies now. Raises HostFailed with the words of mount, Unsupported."""
    owner = _owner()
    unmount_nas()
    with _credentials(plan) as credentials:
        done = attempt(*mount_command(plan, credentials, owner))
    if done.returncode != 0:
        # systemd only says that it failed; what the mount program said is in the journal
        said = attempt("journalctl", "--unit", _UNIT, "--lines=4", "--output=cat", "--since=-1min").stdout
        raise HostFailed(f"The NAS folder could not be mounted: {(said or done.stderr).strip()[-400:]}")
    return str(NAS_DIR)


def is_nas_mounted() -> bool:
    return NAS_DIR.is_mount()


def unmount_nas() -> None:
    """Takes the folder away, even from under a program that hangs in it; none is fine. Raises HostFailed."""
    if not is_nas_mounted():
        return
    done = attempt("systemd-umount", str(NAS_DIR))
    if done.returncode != 0:
        raise HostFailed(f"The NAS folder could not be unmounted: {done.stderr.strip()[-400:]}")


def mount_command(plan: NasPlan, credentials: Path, owner: tuple[int, int]) -> list[str]:
    """The arguments: pure, and without any secret."""
    match plan.kind:
        case NasKind.SMB:
            user, group = owner
            source, kind = f"//{plan.host}/{plan.share}", "cifs"
            # soft: an answer that doesn't come is an error within a minute, not a process that never ends
            options = f"credentials={credentials},uid={user},gid={group},file_mode=0600,dir_mode=0700,soft"
        case NasKind.NFS:
            source, kind = f"{plan.host}:{plan.share}", "nfs4"
            options = "soft,timeo=150,retrans=2"
    return [
        *("systemd-mount", "--collect", "--fsck=no", f"--type={kind}"),
        *(f"--property={each}" for each in _PROPERTIES),
        *(f"--options={_CONFINED},{options}", source, str(NAS_DIR)),
    ]


@contextmanager
def _credentials(plan: NasPlan) -> Iterator[Path]:
    # mkstemp makes it 0600; /run is in memory
    descriptor, name = tempfile.mkstemp(dir="/run", prefix=".cellule-nas-")
    try:
        with os.fdopen(descriptor, "w") as file:
            domain = f"domain={plan.domain}\n" if plan.domain else ""
            file.write(f"username={plan.username}\npassword={plan.password}\n{domain}")
        yield Path(name)
    finally:
        Path(name).unlink()


def _owner() -> tuple[int, int]:
    try:
        account = pwd.getpwnam(SERVICE_USER)
    except KeyError as error:
        raise Unsupported(
            f"This machine has no user {SERVICE_USER}.",
            next_step="NAS folders are mounted by the appliance's image; here, use SFTP or S3.",
        ) from error
    return account.pw_uid, account.pw_gid
