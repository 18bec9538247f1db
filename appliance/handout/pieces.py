"""A file as pieces: how large they are, and the hash of each. Only the box makes such a list.

A piece is checked when it arrives, so one who gives wrong bytes costs one piece. That saves time and is no
more than that: the whole file is checked by its own hash before anything uses it. The list travels from
the box alone, over TLS whose key is pinned.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.errors import NotTrusted
from appliance.models.bundle import BundleFile

SMALLEST_PIECE_BYTES = 64 * 1024
LARGEST_PIECE_BYTES = 4 * 1024 * 1024
_WANTED_PIECES = 256
"""Enough that many can be on the way at once, few enough that the list stays small."""
_HEAD = struct.Struct(">4sIQ32s")
_MAGIC = b"CPL1"
_HASH_BYTES = 32


class PieceListRefused(NotTrusted):
    """The list is none, or is that of another file."""

    code = "piece_list_refused"


class DamagedFile(NotTrusted):
    """A file does not have the hash that it is named by."""

    code = "damaged_file"


@dataclass(frozen=True)
class PieceList:
    """`hashes` are the SHA-256 of each piece in order; all pieces are `piece_bytes` long but the last."""

    sha256: str
    size_bytes: int
    piece_bytes: int
    hashes: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.hashes)

    def offset(self, index: int) -> int:
        return index * self.piece_bytes

    def length(self, index: int) -> int:
        """Bytes of piece `index`. Raises IndexError when there is none."""
        if not 0 <= index < len(self.hashes):
            raise IndexError(index)
        return min(self.piece_bytes, self.size_bytes - self.offset(index))

    def is_piece(self, index: int, content: bytes | bytearray | memoryview) -> bool:
        """Whether `content` is piece `index`."""
        return hmac.compare_digest(hashlib.sha256(content).digest(), self.hashes[index])

    def encode(self) -> bytes:
        """A head of 48 bytes, then the hashes."""
        head = _HEAD.pack(_MAGIC, self.piece_bytes, self.size_bytes, bytes.fromhex(self.sha256))
        return head + b"".join(self.hashes)


def decode_piece_list(encoded: bytes, file: BundleFile) -> PieceList:
    """The list of `file`. Raises PieceListRefused."""
    if len(encoded) < _HEAD.size:
        raise _refused(file)
    magic, piece_bytes, size_bytes, sha256 = _HEAD.unpack_from(encoded)
    body = encoded[_HEAD.size :]
    hashes = tuple(body[start : start + _HASH_BYTES] for start in range(0, len(body), _HASH_BYTES))
    is_sound = (
        (magic, size_bytes, sha256.hex()) == (_MAGIC, file.size_bytes, file.sha256)
        and SMALLEST_PIECE_BYTES <= piece_bytes <= LARGEST_PIECE_BYTES
        and len(body) == _HASH_BYTES * -(-size_bytes // piece_bytes)
    )
    if not is_sound:
        raise _refused(file)
    return PieceList(file.sha256, size_bytes, piece_bytes, hashes)


def piece_bytes_for(size_bytes: int) -> int:
    """A power of two between the smallest and the largest, for about 256 pieces."""
    wanted = max(1, size_bytes // _WANTED_PIECES)
    return min(max(1 << (wanted - 1).bit_length(), SMALLEST_PIECE_BYTES), LARGEST_PIECE_BYTES)


def list_pieces(
    file: BinaryIO, size_bytes: int, on_bytes: Callable[[int], None] = lambda _: None
) -> PieceList:
    """Of a file that is read from its beginning to its end; what hash it has is found on the way."""
    piece_bytes = piece_bytes_for(size_bytes)
    whole, hashes = hashlib.sha256(), []
    while piece := file.read(piece_bytes):
        whole.update(piece)
        hashes.append(hashlib.sha256(piece).digest())
        on_bytes(len(piece))
    return PieceList(whole.hexdigest(), size_bytes, piece_bytes, tuple(hashes))


def make_piece_list(path: Path, sha256: str) -> PieceList:
    """Reads the whole file; not on an event loop. Raises DamagedFile, OSError."""
    with path.open("rb") as file:
        pieces = list_pieces(file, path.stat().st_size)
    if pieces.sha256 != sha256:
        raise DamagedFile(
            f"The file {sha256[:12]} is damaged on the disk.",
            next_step="Get the model again; check the disk.",
        )
    return pieces


def has_hash(path: Path, sha256: str) -> bool:
    """Whether the whole file has that hash."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(LARGEST_PIECE_BYTES):
            whole.update(piece)
    return hmac.compare_digest(whole.hexdigest(), sha256)


def _refused(file: BundleFile) -> PieceListRefused:
    return PieceListRefused(f"What came is not the list of pieces of {file.path}.")
