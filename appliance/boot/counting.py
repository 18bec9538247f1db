"""The tries of a release, as systemd-boot counts them in the names of the kernel images on the ESP.

`cellule_<version>_<slot>+<left>[-<done>].efi`: systemd-boot takes one from `left` and adds one to `done` each
time it starts the image, and starts an image with nothing left only when there is no other.
(UAPI.1 Boot Loader Specification, "Boot counting".)

The sum of both tells what a release is. One on trial has TRIES_ON_TRIAL. One that was good here has
TRIES_ONCE_GOOD, and each start that comes to a verdict sets it back to all of them: they run out only when
start after start ends before, as on a root that was damaged on its disk, and then the other slot's turn has
come. An image as it comes with a new disk has no counter until its first good boot. rauc-slots names images
by the same rule (decision 0010).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.private_file import sync_folder

_NAME = re.compile(
    r"cellule_(?P<version>[^_]+)_(?P<slot>[ab])(?:\+(?P<left>\d+)(?:-(?P<done>\d+))?)?\.efi", re.IGNORECASE
)
_ROOT_HASH = re.compile(rb"\broothash=([0-9a-f]{64})")
_LOADER_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_BLOCK_BYTES = 1024 * 1024
TRIES_ON_TRIAL = 3
TRIES_ONCE_GOOD = 5
"""More than on trial: power cuts while the box starts must not add up to a slot given up."""


@dataclass(frozen=True)
class Kernel:
    """The kernel image (UKI) of one slot. `tries_left` is None for one that is not counted."""

    name: str
    version: str
    slot: str
    tries_left: int | None = None
    tries_done: int = 0

    @property
    def addon(self) -> str:
        """What names the root of the slot, in a folder that is called as the image without its counter."""
        return f"cellule_{self.version}_{self.slot}.efi.extra.d/root.addon.efi"

    @property
    def is_on_trial(self) -> bool:
        """Whether it has not been good on this box yet.

        With nothing left in either slot systemd-boot starts one all the same and counts on: after two such
        starts it counts as one that was good, and so stays up.
        """
        return self.tries_left is not None and self.tries_left + self.tries_done < TRIES_ONCE_GOOD

    @property
    def has_failed(self) -> bool:
        """Every try of its trial was used. One with nothing left and nothing done was put aside only."""
        return self.is_on_trial and self.tries_left == 0 and self.tries_done > 0

    @property
    def no_longer_starts(self) -> bool:
        """It was good, and since then as many starts in a row as it has ended before their verdict."""
        return self.tries_left == 0 and not self.is_on_trial


def kernel_of(name: str) -> Kernel | None:
    """What the name of a file on the ESP says; None when it isn't one of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    left = found["left"]
    return Kernel(
        name=name,
        version=found["version"],
        slot=found["slot"].lower(),
        tries_left=None if left is None else int(left),
        tries_done=int(found["done"] or 0),
    )


def read_kernels(folder: Path) -> tuple[Kernel, ...]:
    """The images on the ESP; none when it can't be read."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return ()
    return tuple(kernel for name in names if (kernel := kernel_of(name)))


def started_entry(efi_variables: Path) -> Kernel | None:
    """The image that systemd-boot says it started, with its counter; None without systemd-boot.

    LoaderBootCountPath is there only for an image that is counted (systemd.io/BOOT_LOADER_INTERFACE).
    """
    for variable in ("LoaderBootCountPath", "LoaderEntrySelected"):
        try:
            content = (efi_variables / f"{variable}-{_LOADER_VENDOR}").read_bytes()
        except OSError:
            continue
        # four bytes of attributes, then UTF-16 with a zero at its end
        path = content[4:].decode("utf-16-le", "replace").rstrip("\0")
        if kernel := kernel_of(path.rpartition("\\")[2]):
            return kernel
    return None


def kernel_running(kernels: tuple[Kernel, ...], version: str, slot: str) -> Kernel | None:
    """The image that this boot started from."""
    return next((each for each in kernels if (each.version, each.slot) == (version, slot)), None)


def name_with_try_given_back(kernel: Kernel) -> str:
    """The name that the image had before this start; its own name when no try was counted.

    One that was good gets all of its tries: this start came to a verdict.
    """
    if kernel.tries_left is None or not kernel.tries_done:
        return kernel.name
    plain = f"cellule_{kernel.version}_{kernel.slot}"
    if not kernel.is_on_trial:
        return f"{plain}+{TRIES_ONCE_GOOD}.efi"
    done = f"-{kernel.tries_done - 1}" if kernel.tries_done > 1 else ""
    return f"{plain}+{kernel.tries_left + 1}{done}.efi"


def give_try_back(folder: Path, kernel: Kernel) -> None:
    """Makes this start one that costs no try. Raises OSError."""
    name = name_with_try_given_back(kernel)
    if name == kernel.name:
        return
    (folder / kernel.name).rename(folder / name)
    sync_folder(folder)


def root_hash_of(path: Path) -> str:
    """The root hash on the command line of an image or addon; "" when it can't be found."""
    before = b""
    try:
        with path.open("rb") as image:
            while block := image.read(_BLOCK_BYTES):
                if found := _ROOT_HASH.search(before + block):
                    return found[1].decode()
                before = block[-128:]
    except OSError:
        return ""
    return ""
