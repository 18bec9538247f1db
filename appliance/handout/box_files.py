"""The files that the box hands out, by their hash, and the list of pieces kept beside each.

The store makes a list as it hashes a file. Where there is none, it is made when the file is first asked for,
which reads all of it: a damaged one is found out before it travels.
"""

import os
from pathlib import Path

from appliance.errors import Refused
from appliance.handout.pieces import PieceList, PieceListRefused, decode_piece_list, make_piece_list
from appliance.models.bundle import BundleFile
from appliance.private_file import replace


class FileNotHere(Refused):
    """The box has no such file; its model may have been removed."""

    code = "model_file_not_here"
    http_status = 404


class BoxFiles:
    """`models_dir` holds blobs/SHA256; every call reads the disk, so not on an event loop."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._lists: dict[str, PieceList] = {}

    def kept_list(self, sha256: str) -> PieceList | None:
        """The list that was made before."""
        found = self._lists.get(sha256) or self._kept(sha256)
        if found is not None:
            self._lists[sha256] = found
        return found

    def piece_list(self, sha256: str) -> PieceList:
        """May take minutes. Raises FileNotHere, DamagedFile."""
        found = self._lists[sha256] = self.kept_list(sha256) or self._made(sha256)
        return found

    def open_piece(self, sha256: str, index: int) -> tuple[int, int, int]:
        """A descriptor to be closed, and offset and length of the piece. Raises FileNotHere, DamagedFile."""
        pieces = self.piece_list(sha256)
        try:
            length = pieces.length(index)
            return os.open(self._blob(sha256), os.O_RDONLY), pieces.offset(index), length
        except (IndexError, FileNotFoundError):
            self._lists.pop(sha256, None)
            raise _not_here() from None

    def _kept(self, sha256: str) -> PieceList | None:
        try:
            size_bytes = self._blob(sha256).stat().st_size
            file = BundleFile(path=sha256, size_bytes=size_bytes, sha256=sha256)
            return decode_piece_list(self._list(sha256).read_bytes(), file)
        except (FileNotFoundError, PieceListRefused):
            return None

    def _made(self, sha256: str) -> PieceList:
        try:
            pieces = make_piece_list(self._blob(sha256), sha256)
        except FileNotFoundError:
            self._list(sha256).unlink(missing_ok=True)
            raise _not_here() from None
        replace(self._list(sha256), pieces.encode())
        return pieces

    def _blob(self, sha256: str) -> Path:
        return self._models_dir / "blobs" / sha256

    def _list(self, sha256: str) -> Path:
        return self._models_dir / "pieces" / sha256


def _not_here() -> FileNotHere:
    return FileNotHere("The box does not have this file.", next_step="The next report tells what to fetch.")
