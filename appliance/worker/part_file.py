"""A file on its way: its room on the disk is taken at once, its pieces come in any order.

Beside it lies a map, a byte a piece, that other processes of this machine read to know what can be given to
others. The map is a hint: at every opening it is made anew from the pieces themselves.
"""

import errno
import mmap
import os
from pathlib import Path

from appliance.handout.pieces import PieceList
from appliance.worker.choosing import COMING, HERE, MISSING

MAP_SUFFIX = ".map"


class PartFile:
    """Raises OSError when the disk has no room. `states` is the map; those who change it share a lock."""

    def __init__(self, path: Path, pieces: PieceList) -> None:
        self.path = path
        self.pieces = pieces
        self._map_path = path.with_name(path.name + MAP_SUFFIX)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_room()
            self.states = self._open_map()
        except BaseException:
            os.close(self._file)
            raise
        self._check_pieces()

    def write(self, index: int, content: memoryview) -> None:
        """Puts piece `index` in its place. Raises OSError."""
        offset = self.pieces.offset(index)
        while content:
            written = os.pwrite(self._file, content, offset)
            content, offset = content[written:], offset + written
        self.states[index] = HERE

    def is_complete(self) -> bool:
        return bytes(self.states).count(HERE) == len(self.pieces)

    def have_bytes(self) -> int:
        """Of the pieces that are here."""
        # an mmap yields bytes when it is iterated over, and numbers when it is indexed
        states = bytes(self.states)
        return sum(self.pieces.length(index) for index, state in enumerate(states) if state == HERE)

    def sync(self) -> None:
        """Has it on the disk."""
        os.fsync(self._file)

    def forget_map(self) -> None:
        self._map_path.unlink(missing_ok=True)

    def close(self) -> None:
        self.states[:] = bytes(self.states).replace(bytes([COMING]), bytes([MISSING]))
        if isinstance(self.states, mmap.mmap):
            self.states.close()
        os.close(self._file)

    def _take_room(self) -> None:
        size = self.pieces.size_bytes
        os.ftruncate(self._file, size)
        if size == 0:
            return
        try:
            os.posix_fallocate(self._file, 0, size)
        except OSError as error:
            # where a file system can't promise room, the disk may still fill on the way
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def _open_map(self) -> mmap.mmap | bytearray:
        count = len(self.pieces)
        self._map_path.write_bytes(bytes(count))
        if count == 0:
            return bytearray()
        with self._map_path.open("r+b") as file:
            return mmap.mmap(file.fileno(), count)

    def _check_pieces(self) -> None:
        """Marks the pieces of an earlier try that are right; holes in the file are passed over."""
        for index in self._written():
            content = os.pread(self._file, self.pieces.length(index), self.pieces.offset(index))
            if self.pieces.is_piece(index, content):
                self.states[index] = HERE

    def _written(self) -> list[int]:
        found: dict[int, None] = {}
        offset = 0
        while offset < self.pieces.size_bytes:
            try:
                begin = os.lseek(self._file, offset, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole from here on
                break
            offset = os.lseek(self._file, begin, os.SEEK_HOLE)
            first, last = begin // self.pieces.piece_bytes, (offset - 1) // self.pieces.piece_bytes
            found.update(dict.fromkeys(range(first, min(last + 1, len(self.pieces)))))
        return list(found)
