"""A USB stick, mounted for the whole system, read-only, nothing on it taken for a program or a device.

systemd mounts it: a mount of this process's own would not be seen by RAUC, nor by the service user.
"""

from collections.abc import Iterator

from appliance.host.contract import HostFailed, NotFound
from appliance.host.linux.commands import attempt, call
from appliance.host.linux.disks import boot_disk, is_removable
from appliance.host.linux.places import Places

_OPTIONS = "ro,nosuid,nodev,noexec"


def stick_candidates(places: Places) -> Iterator[str]:
    """Kernel names of what may hold files on removable disks: partitions, or a whole disk without any."""
    for folder in sorted((places.sys / "block").iterdir()):
        if folder.name.startswith("sr") or folder.name == boot_disk(places) or not is_removable(folder):
            continue
        parts = sorted(part.parent.name for part in folder.glob("*/partition"))
        yield from parts or [folder.name]


def mount_stick(places: Places) -> str:
    """Where the first that can be mounted lies now. Raises NotFound; HostFailed when none can be read."""
    release_stick(places)
    failed = ""
    for name in stick_candidates(places):
        device, folder = str(places.root / "dev" / name), str(places.media)
        tried = attempt("systemd-mount", "--collect", "--fsck=no", f"--options={_OPTIONS}", device, folder)
        if tried.returncode == 0:
            return folder
        failed = f"{name}: {tried.stderr.strip()[-300:]}"
    if failed:
        raise HostFailed(
            f"The USB stick can't be read: {failed}", next_step="Use one formatted with FAT or exFAT."
        )
    raise NotFound("No USB stick was found.", next_step="Plug it in and try again.")


def release_stick(places: Places) -> None:
    """Nothing mounted is fine. Raises HostFailed while something on it is being read."""
    mounted = {line.split()[4] for line in (places.proc / "self/mountinfo").read_text().splitlines()}
    if str(places.media) in mounted:
        call("systemd-umount", str(places.media))
