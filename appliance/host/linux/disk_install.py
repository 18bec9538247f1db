"""Making another disk a box like the one that runs, in an order that never leaves a disk that half starts:

1. The tables of the target are erased: nothing starts from it any more.
2. Root and verity tree of the running slot are copied, and read back; the kernel image goes into a new ESP
   under a name without tries: it runs here, so it is good.
3. The new table is written last, and now the disk starts. Its data partition is made at its first boot.
"""

import ctypes
import filecmp
import hashlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.errors import Refusal
from appliance.host.contract import Busy, HostFailed, InvalidPlan, NotFound
from appliance.host.linux.commands import call
from appliance.host.linux.disk_layout import Layout, Partition, erase_table, read_layout, write_table
from appliance.host.linux.disks import boot_disk, is_in_use, is_removable, list_disks
from appliance.host.linux.places import Places
from appliance.host.linux.slots import booted_slot, kernel_images
from appliance.host.machine import DiskInstallState, DiskInstallStatus

log = logging.getLogger(__name__)
_BLOCK_BYTES = 4 * 1024**2
_LONG_SECONDS = 600
_WHAT_IS_MAPPED_NOW = 1  # MCL_CURRENT


class DiskInstall:
    """One install at a time, in a thread of its own."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._thread: threading.Thread | None = None
        self.status = DiskInstallStatus()

    def begin(self, disk: str, force: bool) -> None:
        """Raises NotFound, Busy, InvalidPlan, HostFailed; then nothing was written."""
        if self._thread is not None and self._thread.is_alive():
            raise Busy("An install to a disk is running.", next_step="Wait until it is done.")
        layout = read_layout(self._places.partitions / "disk")
        check_target(self._places, layout, disk, force)
        self.status = DiskInstallStatus(state=DiskInstallState.COPYING, disk=disk)
        self._thread = threading.Thread(target=self._run, args=(layout, disk), daemon=True)
        self._thread.start()

    def _run(self, layout: Layout, disk: str) -> None:
        if is_removable(self._places.sys / "block" / boot_disk(self._places)):
            _stay_in_memory()
        try:
            install(self._places, layout, self._places.root / "dev" / disk, self._tell)
        except Refusal as refusal:
            self._fail(str(refusal))
        except Exception as error:
            # before it is logged: after the stick was pulled out even that may fail
            self._fail(f"{disk}: {error or type(error).__name__}")
            log.exception("the install to %s broke", disk)
        else:
            self._tell(DiskInstallState.INSTALLED, 100, "Turn the machine off, then remove the stick.")

    def _tell(self, state: DiskInstallState, percent: int, step: str) -> None:
        told = {"state": state, "percent": percent, "step": step}
        self.status = self.status.model_copy(update=told)

    def _fail(self, error: str) -> None:
        self.status = self.status.model_copy(update={"state": DiskInstallState.FAILED, "error": error})


def _stay_in_memory() -> None:
    """Keeps this program readable for itself when the stick that it lies on is pulled out (mlockall(2))."""
    if ctypes.CDLL(None, use_errno=True).mlockall(_WHAT_IS_MAPPED_NOW) != 0:
        log.warning("the broker can't be held in memory: %s", os.strerror(ctypes.get_errno()))


def check_target(places: Places, layout: Layout, disk: str, force: bool) -> None:
    """Raises NotFound, InvalidPlan."""
    found = next((each for each in list_disks(places) if each.name == disk), None)
    if found is None:
        raise NotFound(f"There is no disk {disk}.")
    if found.is_boot_disk:
        raise InvalidPlan(f"The box runs from {disk}.", next_step="Choose another disk.")
    if is_in_use(places, disk):
        raise InvalidPlan(f"{disk} is in use.", next_step="Choose another disk, or unplug what uses it.")
    if found.removable and not force:
        raise InvalidPlan(f"{disk} can be unplugged.", next_step="Choose an internal disk.")
    if found.size_bytes < layout.bytes_needed:
        raise InvalidPlan(
            f"{disk} has {found.size_bytes // 10**9} GB; the box needs {layout.gigabytes_needed} GB.",
            next_step="Choose a larger disk.",
        )
    sector = places.sys / "block" / disk / "queue/logical_block_size"
    if sector.is_file() and int(sector.read_text()) != layout.sector_bytes:
        raise InvalidPlan(
            f"{disk} has sectors of another size than this disk.", next_step="Choose another disk."
        )


Tell = Callable[[DiskInstallState, int, str], None]


def install(places: Places, layout: Layout, target: Path, tell: Tell) -> None:
    """Steps 1 to 3; `target` is a disk or a file. Raises HostFailed, OSError."""
    slot = booted_slot(places)
    if not slot:
        raise HostFailed("The box does not run from a slot.")
    erase_table(target)
    parts = [layout[f"root-{slot}"], layout[f"verity-{slot}"]]
    total, done = sum(part.size for part in parts), 0
    for part in parts:

        def progress(bytes_done: int, name: str = part.name, before: int = done) -> None:
            tell(DiskInstallState.COPYING, (before + bytes_done) * 80 // total, f"Copying {name}")

        digest = copy_partition(places.partitions / part.name, target, part, progress)
        tell(DiskInstallState.VERIFYING, (done + part.size) * 80 // total, f"Reading back {part.name}")
        if digest_of(target, part) != digest:
            raise HostFailed(f"{target.name} does not give back what was written to it.")
        done += part.size
    tell(DiskInstallState.COPYING, 85, "Copying the kernel image")
    write_esp(places, slot, target, layout["esp"], layout.sector_bytes)
    write_table(layout, target, slot)


def copy_partition(source: Path, target: Path, part: Partition, progress: Callable[[int], None]) -> str:
    """Copies as many bytes as the partition has; their SHA-256 in hex."""
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as reader, target.open("r+b", buffering=0) as writer:
        writer.seek(part.start)
        done = 0
        while done < part.size:
            try:
                block = reader.read(min(_BLOCK_BYTES, part.size - done))
            except OSError as error:
                raise HostFailed(
                    "The stick can't be read any more: it was pulled out, or is worn out.",
                    next_step="Plug it in, turn the machine off and on, and install again.",
                ) from error
            if not block:
                raise HostFailed(f"{source.name} is shorter than its partition.")
            digest.update(block)
            writer.write(block)
            done += len(block)
            progress(done)
        os.fsync(writer.fileno())
    return digest.hexdigest()


def digest_of(target: Path, part: Partition) -> str:
    """SHA-256 of the partition, read from the disk and not from memory."""
    digest = hashlib.sha256()
    with target.open("rb", buffering=0) as reader:
        os.posix_fadvise(reader.fileno(), part.start, part.size, os.POSIX_FADV_DONTNEED)
        reader.seek(part.start)
        left = part.size
        while left and (block := reader.read(min(_BLOCK_BYTES, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def write_esp(places: Places, slot: str, target: Path, part: Partition, sector_bytes: int) -> None:
    """A FAT file system with the boot loader and the kernel image of `slot`; reads it back and compares."""
    image = kernel_images(places).get(slot)
    if image is None:
        raise HostFailed(f"There is no kernel image of slot {slot}.")
    with TemporaryDirectory(dir=places.run) as folder:
        content, back = Path(folder, "esp"), Path(folder, "back")
        blessed = f"cellule_{image.version}_{slot}.efi"
        for path in sorted(places.esp.rglob("*")):
            relative = path.relative_to(places.esp)
            if not path.is_file() or path.name in _OF_THIS_DISK:
                continue
            if path.is_relative_to(places.kernels):
                own = path.relative_to(places.kernels).parts
                if own[0] == image.path.name:
                    relative = relative.with_name(blessed)
                elif own[0] != f"{blessed}.extra.d":
                    continue
            copy = content / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            # a link would do, were it one file system
            copy.write_bytes(path.read_bytes())
        start, blocks = str(part.start // sector_bytes), str(part.size // 1024)
        # the smallest clusters: firmware takes what has less than 65,525 of them for FAT16, whatever it calls
        # itself (Microsoft's FAT32 specification), and left to itself mkfs goes by the size of the whole disk
        call("mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", "--offset", start, str(target), blocks)
        at = f"{target}@@{part.start}"
        call(
            "mcopy", "-s", "-i", at, *map(str, sorted(content.iterdir())), "::", timeout_seconds=_LONG_SECONDS
        )
        _flush(target)
        back.mkdir()
        call("mcopy", "-s", "-i", at, "::/*", str(back), timeout_seconds=_LONG_SECONDS)
        if not _same(content, back):
            raise HostFailed(f"{target.name} does not give back what was written to it.")


_OF_THIS_DISK = {"random-seed", "cellule-reset", "cellule-data"}
"""The loader's seed, and what data-partition knows this disk by."""


def _flush(target: Path) -> None:
    with target.open("rb") as disk:
        os.fsync(disk.fileno())
        os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _same(one: Path, other: Path) -> bool:
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    if files != {path.relative_to(other) for path in other.rglob("*") if path.is_file()}:
        return False
    return all(filecmp.cmp(one / path, other / path, shallow=False) for path in files)
