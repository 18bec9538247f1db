"""The twin for backups: a NAS share is a folder `nas/HOST/SHARE` of the memory, if it is there."""

from pathlib import Path

from appliance.host.contract import HostFailed
from appliance.host.nas import NasPlan
from appliance.host.sealing import replace_key, seal_key


class SimulatedSafekeeping:
    """Fulfils `Safekeeping`. The account and password are not checked: nobody is there to know them."""

    _key_path: Path
    _shares: Path

    def seal_wireguard_key(self, recipient: str) -> str:
        return seal_key(self._key_path, recipient)

    def replace_wireguard_key(self, sealed: str | None, identity: str | None) -> None:
        replace_key(self._key_path, sealed, identity)

    def mount_nas(self, plan: NasPlan) -> str:
        folder = self._shares / plan.host / plan.share.strip("/")
        if not folder.is_dir():
            raise HostFailed("The NAS folder could not be mounted: mount error(2): No such file or directory")
        return str(folder)

    def unmount_nas(self) -> None:
        """Nothing is mounted."""
