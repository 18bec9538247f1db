"""Where the verdict finds things: on the image, and in the state directory of a development box."""

import platform
from dataclasses import dataclass
from pathlib import Path

from appliance import VERSION
from appliance.boot.breadcrumbs import Running
from appliance.boot.counting import started_entry
from appliance.settings import Settings

_EFI_VARIABLES = Path("/sys/firmware/efi/efivars")
_RELEASE_FILE = Path("/usr/lib/os-release")


@dataclass(frozen=True)
class Places:
    """`data` is where what is kept lies; `kernels` holds the UKIs of both slots."""

    data: Path
    run: Path
    kernels: Path
    efi_variables: Path
    is_mounted_separately: bool

    @property
    def breadcrumbs(self) -> Path:
        return self.data / "boot"

    @property
    def accelerator(self) -> Path:
        """The profile that served the last good boot, JSON."""
        return self.breadcrumbs / "accelerator.json"

    @property
    def accelerator_now(self) -> Path:
        """The one of this boot."""
        return self.run / "accelerator.json"

    @property
    def stay_up(self) -> Path:
        """Exists when another start would not help: the release was good before, or the data is bad.

        While it does, cellule-boot-again.service restarts nothing.
        """
        return self.run / "stay-up"

    @property
    def trouble_page(self) -> Path:
        """What nginx shows while no page is served, when it is not only a matter of waiting."""
        return self.run / "trouble.html"

    @property
    def verdict(self) -> Path:
        """The verdict of this boot, JSON, for the console and the pages."""
        return self.run / "verdict.json"


def places(settings: Settings) -> Places:
    """The places of this box."""
    if settings.appliance:
        return Places(Path("/data"), Path("/run/cellule-boot"), Path("/efi/EFI/Linux"), _EFI_VARIABLES, True)
    state = settings.state_dir
    return Places(state, settings.run_dir / "boot", state / "efi" / "EFI" / "Linux", state / "efi", False)


def running_now(settings: Settings) -> Running:
    """Version, slot and boot id of this start. A fact that can't be read stays empty."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    if not settings.appliance:
        return Running(VERSION, "", boot_id)
    entry = started_entry(_EFI_VARIABLES)
    return Running(_image_version(), entry.slot if entry else "", boot_id)


def built_at() -> float:
    """When this release was built, epoch seconds: an earlier time was told by a wrong clock."""
    file = _RELEASE_FILE if _RELEASE_FILE.exists() else Path(__file__)
    return file.stat().st_mtime


def _image_version() -> str:
    try:
        return platform.freedesktop_os_release().get("IMAGE_VERSION", VERSION)
    except OSError:
        return VERSION
