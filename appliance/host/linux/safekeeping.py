"""What backups need of a Linux machine: its tunnel key, sealed, and a NAS folder, mounted."""

from pathlib import Path

from appliance.host.linux.nas import mount_nas, unmount_nas
from appliance.host.nas import NasPlan
from appliance.host.sealing import replace_key, seal_key


class LinuxSafekeeping:
    """Fulfils `Safekeeping`."""

    _key_path: Path

    def seal_wireguard_key(self, recipient: str) -> str:
        return seal_key(self._key_path, recipient)

    def replace_wireguard_key(self, sealed: str | None, identity: str | None) -> None:
        replace_key(self._key_path, sealed, identity)

    def mount_nas(self, plan: NasPlan) -> str:
        return mount_nas(plan)

    def unmount_nas(self) -> None:
        unmount_nas()
