"""Factory reset: the keys of the data first, so that whatever happens after that, nothing can be read.

1. LUKS: every key slot is destroyed (works while the partition is open), then the whole header is overwritten
   and discarded. Without the key the rest of the partition is noise.
2. No LUKS: the whole partition is discarded, in seconds; where the disk can't, it is overwritten from end to
   end: one second for 100 to 500 MB, an hour or more for a large disk. A disk may keep copies of what
   it once held (worn-out blocks); only encryption is safe from that.
3. A mark on the ESP has the next boot make a new partition, and the machine restarts.
"""

import os
from pathlib import Path

from appliance.host.linux.commands import attempt, call
from appliance.host.linux.places import Places
from appliance.host.linux.recovery import is_encrypted

MIB = 1024**2
HEADER_BYTES = 16 * MIB
"""Both headers and all key slots, as cryptsetup lays them out (LUKS2 on-disk format)."""
_BLOCK_BYTES = 4 * MIB
_DISCARD_SECONDS = 600


def destroy_key(device: Path) -> bool:
    """Whether there was a key, which is gone now: only an encrypted partition has one. Raises HostFailed."""
    if not is_encrypted(device):
        return False
    call("cryptsetup", "erase", "--batch-mode", str(device))
    overwrite(device, HEADER_BYTES, random=True)
    attempt("blkdiscard", "--force", "--length", str(HEADER_BYTES), str(device))
    return True


def mark_reset(places: Places) -> None:
    """Has the next boot make a new data partition."""
    mark = places.esp / "cellule-reset"
    mark.write_text("")
    with mark.open("rb") as file:
        os.fsync(file.fileno())
    os.sync()


def destroy_data(device: Path) -> None:
    """Discards or overwrites everything; may take hours."""
    if attempt("blkdiscard", "--force", str(device), timeout_seconds=_DISCARD_SECONDS).returncode != 0:
        overwrite(device)


def overwrite(device: Path, length: int | None = None, *, random: bool = False) -> None:
    """Overwrites the first `length` bytes, or all, and returns when they have reached the disk."""
    zeros = bytes(_BLOCK_BYTES)
    with device.open("r+b", buffering=0) as disk:
        end = disk.seek(0, os.SEEK_END)
        length = end if length is None else min(length, end)
        disk.seek(0)
        while (left := length - disk.tell()) > 0:
            size = min(left, _BLOCK_BYTES)
            disk.write(os.urandom(size) if random else zeros[:size])
        os.fsync(disk.fileno())
