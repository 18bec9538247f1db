"""The files that the kernel and systemd would show on an appliance, under a folder of the test's."""

from pathlib import Path

from appliance.host.linux.places import Places

ROOT_HASH = "0123456789abcdef0123456789abcdef" + "f" * 32
ROOT_UUID = "01234567-89ab-cdef-0123-456789abcdef"
GIB = 1024**3


def make_box(folder: Path) -> Places:
    """Slot a runs release 0.1.0; slot b is empty; disks sda (the box's), sdb (8 GiB), sdc (a stick)."""
    places = Places(kept=folder / "kept", own_tls=folder / "secrets", root=folder / "box")
    root = places.root
    for each in (
        "run",
        "data",
        "dev/cellule",
        "dev/mapper",
        "efi/EFI/Linux",
        "proc/self",
        "sys/block",
    ):
        (root / each).mkdir(parents=True)
    write(places.proc / "cmdline", f"quiet roothash={ROOT_HASH} systemd.machine_id=x\n")
    write(places.proc / "sys/kernel/hostname", "cellule\n")
    write(places.proc / "self/mountinfo", "22 1 8:1 / /efi rw - vfat /dev/sda1 rw\n")
    write(places.proc / "swaps", "Filename Type Size Used Priority\n")
    write(root / "usr/share/zoneinfo/Europe/Paris", "")
    write(root / "usr/share/zoneinfo/Etc/UTC", "")
    write(places.kernels / "cellule_0.1.0_a.efi", "kernel of 0.1.0")
    for name in ("root-a", "root-b"):
        write(root / f"dev/{name}", name)
        (places.partitions / name).symlink_to(f"../{name}")
    (root / "dev/mapper/root").symlink_to("../dm-0")
    for name in ("root-a", "verity-a"):
        (places.sys / "class/block/dm-0/slaves" / name).mkdir(parents=True)
    (places.partitions / "disk").symlink_to("../sda")
    for name, size, removable in (("sda", 16 * GIB, 0), ("sdb", 8 * GIB, 0), ("sdc", 8 * GIB, 1)):
        add_disk(places, name, size, removable=removable)
    return places


def add_disk(places: Places, name: str, size: int, *, removable: int = 0) -> None:
    folder = places.sys / "block" / name
    write(folder / "size", str(size // 512))
    write(folder / "removable", str(removable))
    write(folder / "device/model", f"Model of {name}  ")
    write(folder / "dev", f"8:{16 * (ord(name[2]) - ord('a'))}")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
