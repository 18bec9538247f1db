"""Both slots, read from the names of the kernel images on the ESP (systemd's automatic boot assessment).

cellule_<version>_<slot>.efi                    good, as it came with the disk
cellule_<version>_<slot>+<left>[-<done>].efi    left and done make 3: on trial; bad once nothing is left
                                                they make 5: good; starts no longer once nothing is left
"""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.host.linux.places import Places
from appliance.host.machine import Slot, SlotState

_NAME = re.compile(r"cellule_(?P<version>[^_+]+)_(?P<slot>[ab])(\+(?P<left>\d+)(-(?P<done>\d+))?)?\.efi")
TRIES_ONCE_GOOD = 5
"""As `appliance.boot.counting` has it, which stands above this package."""
_COUNTED = {SlotState.TRYING, SlotState.BAD}
_ROOT_HASH = re.compile(r"(?:^|\s)roothash=([0-9a-f]{64})(?:\s|$)")


@dataclass(frozen=True)
class KernelImage:
    """A kernel image on the ESP; `tries_left` is None for one that is not counted."""

    path: Path
    version: str
    slot: str
    tries_left: int | None
    tries_done: int = 0

    @property
    def state(self) -> SlotState:
        if self.tries_left is None:
            return SlotState.GOOD
        if self.tries_left + self.tries_done >= TRIES_ONCE_GOOD:
            return SlotState.GOOD if self.tries_left else SlotState.NO_LONGER_STARTS
        return SlotState.TRYING if self.tries_left else SlotState.BAD


def kernel_images(places: Places) -> dict[str, KernelImage]:
    """Slot → its kernel image."""
    found: dict[str, KernelImage] = {}
    for path in sorted(places.kernels.glob("cellule_*.efi")):
        if named := _NAME.fullmatch(path.name):
            left, done = named["left"], int(named["done"] or 0)
            found[named["slot"]] = KernelImage(
                path, named["version"], named["slot"], None if left is None else int(left), done
            )
    return found


def read_slots(places: Places) -> tuple[Slot, Slot]:
    """Slots a and b."""
    images, booted = kernel_images(places), booted_slot(places)

    def slot(name: str) -> Slot:
        image = images.get(name)
        return Slot(
            name=name,
            version=image.version if image else "",
            state=image.state if image else SlotState.EMPTY,
            tries_left=image.tries_left if image and image.state in _COUNTED else None,
            booted=name == booted,
        )

    return slot("a"), slot("b")


def root_hash(places: Places) -> str:
    """Of the root that runs, in hex; "" when it isn't a verified one."""
    found = _ROOT_HASH.search((places.proc / "cmdline").read_text())
    return found[1] if found else ""


def booted_slot(places: Places) -> str:
    """The slot's name, or "". A root's partition has the first 128 bits of the root hash as its UUID."""
    digits = root_hash(places)[:32]
    if not digits:
        return ""
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    running = (places.root / "dev/disk/by-partuuid" / uuid).resolve()
    for name in ("a", "b"):
        if (places.partitions / f"root-{name}").resolve() == running:
            return name
    return ""
