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


def booted_slot(places: Places) -> str:
    """The slot's name, or "". What the verified root stands on tells; its UUID would not, for a disk that was
    installed from this one has a partition of the same.
    """
    root = (places.root / "dev/mapper/root").resolve().name
    slaves = places.sys / "class/block" / root / "slaves"
    below = {each.name for each in slaves.iterdir()} if slaves.is_dir() else set()
    return next((name for name in ("a", "b") if _device(places, f"root-{name}") in below), "")


def _device(places: Places, partition: str) -> str:
    return (places.partitions / partition).resolve().name
