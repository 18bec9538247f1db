"""The disks of the machine, from /sys: which one the box runs from, which are in use or can be unplugged."""

from pathlib import Path

from appliance.host.linux.places import Places
from appliance.host.machine import Disk

_SECTOR_BYTES = 512
"""The unit of /sys/block/*/size, whatever the disk's own is."""
_VIRTUAL = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")


def list_disks(places: Places) -> tuple[Disk, ...]:
    """Whole disks with something in them, by name."""
    boot = boot_disk(places)
    return tuple(
        Disk(
            name=folder.name,
            model=_text(folder / "device/model"),
            size_bytes=int(_text(folder / "size")) * _SECTOR_BYTES,
            removable=is_removable(folder),
            is_boot_disk=folder.name == boot,
        )
        for folder in sorted((places.sys / "block").iterdir())
        if not folder.name.startswith(_VIRTUAL) and _text(folder / "size") not in ("", "0")
    )


def boot_disk(places: Places) -> str:
    """The disk that the box runs from; "" where there is none."""
    link = places.partitions / "disk"
    return link.resolve().name if link.is_symlink() else ""


def is_removable(folder: Path) -> bool:
    """Whether /sys/block/DISK is one that a person can take away: a card, or anything on USB."""
    return _text(folder / "removable") == "1" or "/usb" in str(folder.resolve())


def is_in_use(places: Places, disk: str) -> bool:
    """Whether something of it is mounted, used as swap, or held by an encrypted or joined volume."""
    folder = places.sys / "block" / disk
    parts = [folder, *(part.parent for part in folder.glob("*/partition"))]
    numbers = {_text(part / "dev") for part in parts}
    mounted = {line.split()[2] for line in (places.proc / "self/mountinfo").read_text().splitlines()}
    swaps = {Path(line.split()[0]).name for line in (places.proc / "swaps").read_text().splitlines()[1:]}
    held = any(part.is_dir() and any(part.iterdir()) for part in (each / "holders" for each in parts))
    return held or bool(numbers & mounted) or bool({part.name for part in parts} & swaps)


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
