"""What backups need of a Linux machine: its tunnel key, sealed, and a NAS folder, mounted."""

from pathlib import Path

from appliance.host.linux.nas import NAS_DIR, is_nas_mounted, mount_nas, unmount_nas
from appliance.host.nas import NasPlan
from appliance.host.sealing import replace_key, seal_key


class LinuxSafekeeping:
    """Fulfils `Safekeeping`."""

    _key_path: Path
    _nas_plan: NasPlan | None = None
    """What is mounted; a broker that was started anew mounts once more."""

    def seal_wireguard_key(self, recipient: str) -> str:
        return seal_key(self._key_path, recipient)

    def replace_wireguard_key(self, sealed: str | None, identity: str | None) -> None:
        replace_key(self._key_path, sealed, identity)

    def mount_nas(self, plan: NasPlan) -> str:
        if plan == self._nas_plan and is_nas_mounted():
            return str(NAS_DIR)
        self._nas_plan = None
        folder = mount_nas(plan)
        self._nas_plan = plan
        return folder

    def unmount_nas(self) -> None:
        self._nas_plan = None
        unmount_nas()
