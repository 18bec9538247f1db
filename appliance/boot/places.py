"""Where the verdict finds things: on the image, and in the state directory of a development box."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from appliance import VERSION
from appliance.boot.breadcrumbs import Running
from appliance.settings import Settings

_RELEASE_FILE = Path("/usr/lib/os-release")


@dataclass(frozen=True)
class Places:
    """`data` is where what is kept lies; `kernels` holds the UKIs of both slots."""

    data: Path
    run: Path
    kernels: Path
    is_mounted_separately: bool

    @property
    def breadcrumbs(self) -> Path:
        return self.data / "boot"

    @property
    def stay_up(self) -> Path:
        """Exists when the boot is not good and another start would not help (cellule-boot-again.service)."""
        return self.run / "stay-up"

    @property
    def verdict(self) -> Path:
        """The verdict of this boot, JSON, for the console and the pages."""
        return self.run / "verdict.json"


def places(settings: Settings) -> Places:
    """The places of this box."""
    if settings.appliance:
        return Places(Path("/data"), Path("/run/cellule-boot"), Path("/efi/EFI/Linux"), True)
    state = settings.state_dir
    return Places(state, settings.run_dir / "boot", state / "efi" / "EFI" / "Linux", False)


def running_now(settings: Settings) -> Running:
    """Version, slot and boot id of this start. A fact that can't be read stays empty."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    if not settings.appliance:
        return Running(VERSION, "", boot_id)
    return Running(_image_version(), _slot(), boot_id)


def built_at() -> float:
    """When this release was built, epoch seconds: an earlier time was told by a wrong clock."""
    file = _RELEASE_FILE if _RELEASE_FILE.exists() else Path(__file__)
    return file.stat().st_mtime


def _image_version() -> str:
    try:
        return platform.freedesktop_os_release().get("IMAGE_VERSION", VERSION)
    except OSError:
        return VERSION


def _slot() -> str:
    """The root partition's PARTUUID is the first half of the root hash; its label ends with the slot."""
    command_line = Path("/proc/cmdline").read_text()
    found = re.search(r"\broothash=(.{8})(.{4})(.{4})(.{4})(.{12})", command_line)
    if found is None:
        return ""
    device = Path("/dev/disk/by-partuuid", "-".join(found.groups())).resolve()
    return next((slot for slot in "ab" if Path(f"/dev/cellule/root-{slot}").resolve() == device), "")
