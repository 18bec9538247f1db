"""Factory reset: the key of the data first, so that whatever happens after that, nothing can be read.

1. A mark on the ESP has the next boot erase the data partition and make a new one. It is set first and taken
   away last: after a power cut at any point the erasing begins again (rootfs/usr/lib/cellule/data-partition).
2. LUKS: every key slot is destroyed (works while the partition is open), then the whole header is
   overwritten and discarded. Without the key the rest of the partition is noise, and the mark says so.
3. No LUKS: the next boot overwrites the partition from end to end, while nothing of it is in use. A disk may
   keep copies of what it once held (worn-out blocks); only encryption is safe from that.
"""

import os
from pathlib import Path

from appliance.host.linux.commands import attempt, call
from appliance.host.linux.places import Places
from appliance.host.linux.recovery import is_encrypted

HEADER_BYTES = 16 * 1024**2
"""Both headers and all key slots, as cryptsetup lays them out (LUKS2 on-disk format)."""
KEY_DESTROYED = "key destroyed"
"""What the mark says when nothing but noise is left to erase."""


def begin_reset(places: Places) -> None:
    """All that must be done while the box still runs; the next boot does the rest. Raises HostFailed."""
    mark_reset(places)
    device = places.partitions / "data"
    if device.exists() and destroy_key(device):
        mark_reset(places, KEY_DESTROYED)


def destroy_key(device: Path) -> bool:
    """Whether there was a key, which is gone now: only an encrypted partition has one. Raises HostFailed."""
    if not is_encrypted(device):
        return False
    call("cryptsetup", "erase", "--batch-mode", str(device))
    overwrite_header(device)
    attempt("blkdiscard", "--force", "--length", str(HEADER_BYTES), str(device))
    return True


def mark_reset(places: Places, says: str = "") -> None:
    """Has the next boot erase what is left and make a new data partition."""
    mark = places.esp / "cellule-reset"
    with mark.open("w") as file:
        file.write(says)
        file.flush()
        os.fsync(file.fileno())
    os.sync()


def overwrite_header(device: Path) -> None:
    """Returns when random bytes in its place have reached the disk."""
    with device.open("r+b", buffering=0) as disk:
        length = min(disk.seek(0, os.SEEK_END), HEADER_BYTES)
        disk.seek(0)
        while (left := length - disk.tell()) > 0:
            disk.write(os.urandom(min(left, 1024**2)))
        os.fsync(disk.fileno())
