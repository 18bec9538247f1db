"""The partition table of a box on another disk: the same places and names, without the data.

The partitions of the running slot keep their UUIDs, which are halves of the root hash; all others, and the
disk itself, get new ones.
"""

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from appliance.host.contract import HostFailed
from appliance.host.linux.commands import call

LEAST_DATA_BYTES = 1024**3
"""A disk with less left for data than this is too small to live on."""
_END_BYTES = 1024**2
"""The second copy of the table lies at the end of the disk."""


@dataclass(frozen=True)
class Partition:
    """`start` and `size` in bytes."""

    name: str
    kind: str
    uuid: str
    start: int
    size: int


@dataclass(frozen=True)
class Layout:
    """The partitions of a box besides its data."""

    sector_bytes: int
    partitions: tuple[Partition, ...]

    @property
    def end(self) -> int:
        return max(part.start + part.size for part in self.partitions)

    @property
    def bytes_needed(self) -> int:
        return self.end + LEAST_DATA_BYTES + _END_BYTES

    @property
    def gigabytes_needed(self) -> int:
        return self.bytes_needed // 10**9 + 1

    def __getitem__(self, name: str) -> Partition:
        for part in self.partitions:
            if part.name == name:
                return part
        raise HostFailed(f"The disk of the box has no partition {name}.")


def read_layout(disk: Path) -> Layout:
    """The layout of the disk that the box runs from. Raises HostFailed."""
    table = json.loads(call("sfdisk", "--json", str(disk)))["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    parts = (
        Partition(
            part.get("name", ""), part["type"], part["uuid"], part["start"] * sector, part["size"] * sector
        )
        for part in table["partitions"]
    )
    return Layout(sector, tuple(part for part in parts if part.name != "data"))


def write_table(layout: Layout, disk: Path, slot: str) -> None:
    """Makes `disk` show the layout; whatever table it had is gone. Raises HostFailed."""
    kept = {f"root-{slot}", f"verity-{slot}"}
    lines = [
        f"start={part.start // layout.sector_bytes}, size={part.size // layout.sector_bytes}, "
        f'type={part.kind}, name="{part.name}", uuid={part.uuid if part.name in kept else uuid.uuid4()}'
        for part in layout.partitions
    ]
    script = "\n".join((f"label: gpt\nlabel-id: {uuid.uuid4()}", *lines, ""))
    call("sfdisk", "--quiet", "--wipe=always", "--wipe-partitions=never", str(disk), stdin=script)


def erase_table(disk: Path) -> None:
    """Overwrites both copies of the table: until the next one is written, nothing starts from this disk."""
    with disk.open("r+b", buffering=0) as target:
        end = target.seek(0, os.SEEK_END)
        for start in (0, end - _END_BYTES):
            target.seek(start)
            target.write(bytes(_END_BYTES))
        os.fsync(target.fileno())
