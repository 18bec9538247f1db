"""The tries of a release, as systemd-boot counts them in the names of the kernel images on the ESP.

`cellule_<version>_<slot>+<left>[-<done>].efi`: systemd-boot takes one from `left` and adds one to `done` each
time it starts the image, and starts an image with nothing left only when there is no other.
systemd-bless-boot takes the counter away after a good boot: starting that release again costs no try.
(UAPI.1 Boot Loader Specification, "Boot counting"; systemd-bless-boot.service(8).)
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(
    r"cellule_(?P<version>[^_]+)_(?P<slot>[ab])(?:\+(?P<left>\d+)(?:-(?P<done>\d+))?)?\.efi", re.IGNORECASE
)
_ROOT_HASH = re.compile(rb"\broothash=([0-9a-f]{64})")
_LOADER_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Kernel:
    """The kernel image (UKI) of one slot. `tries_left` is None once it was blessed."""

    name: str
    version: str
    slot: str
    tries_left: int | None = None
    tries_done: int = 0

    @property
    def is_being_tried(self) -> bool:
        return self.tries_left is not None

    @property
    def has_failed(self) -> bool:
        """Every try was used. One with nothing left and nothing done was put aside, not tried."""
        return self.tries_left == 0 and self.tries_done > 0


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

    LoaderBootCountPath is there only for an image that is being tried (systemd.io/BOOT_LOADER_INTERFACE).
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
    """The name that the image had before this start; its own name when no try was counted."""
    if kernel.tries_left is None or not kernel.tries_done:
        return kernel.name
    done = f"-{kernel.tries_done - 1}" if kernel.tries_done > 1 else ""
    return f"cellule_{kernel.version}_{kernel.slot}+{kernel.tries_left + 1}{done}.efi"


def give_try_back(folder: Path, kernel: Kernel) -> None:
    """Makes this start one that was not counted. Raises OSError."""
    name = name_with_try_given_back(kernel)
    if name == kernel.name:
        return
    (folder / kernel.name).rename(folder / name)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def root_hash_of(path: Path) -> str:
    """The root hash on the image's own command line; "" when it can't be found."""
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
