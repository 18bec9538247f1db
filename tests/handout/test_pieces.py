"""Lists of pieces: every byte belongs to one piece, and no other bytes are taken for it."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.handout.box_files import BoxFiles, FileNotHere
from appliance.handout.pieces import (
    LARGEST_PIECE_BYTES,
    SMALLEST_PIECE_BYTES,
    DamagedFile,
    PieceListRefused,
    decode_piece_list,
    make_piece_list,
    piece_bytes_for,
)
from appliance.models.bundle import BundleFile

SIZE = 3 * SMALLEST_PIECE_BYTES + 7


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def file(content: bytes) -> BundleFile:
    return BundleFile(path="weights", size_bytes=SIZE, sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def blob(tmp_path: Path, content: bytes, file: BundleFile) -> Path:
    path = tmp_path / "blobs" / file.sha256
    path.parent.mkdir()
    path.write_bytes(content)
    return path


@given(st.integers(min_value=0, max_value=1 << 45))
def test_pieces_have_a_size_that_is_a_power_of_two_within_bounds(size_bytes: int) -> None:
    piece_bytes = piece_bytes_for(size_bytes)
    assert SMALLEST_PIECE_BYTES <= piece_bytes <= LARGEST_PIECE_BYTES
    assert piece_bytes & (piece_bytes - 1) == 0
    assert size_bytes // piece_bytes <= 256 or piece_bytes == LARGEST_PIECE_BYTES


def test_each_byte_belongs_to_one_piece(blob: Path, content: bytes, file: BundleFile) -> None:
    pieces = make_piece_list(blob, file.sha256)
    parts = [
        content[pieces.offset(index) : pieces.offset(index) + pieces.length(index)]
        for index in range(len(pieces))
    ]
    assert b"".join(parts) == content
    assert all(pieces.is_piece(index, part) for index, part in enumerate(parts))
    for flipped in (0, len(parts[2]) - 1):
        wrong = bytearray(parts[2])
        wrong[flipped] ^= 1
        assert not pieces.is_piece(2, wrong)
    assert not pieces.is_piece(1, parts[2])
    for index in (-1, len(pieces)):
        with pytest.raises(IndexError):
            pieces.length(index)


def test_a_list_travels_and_is_refused_for_another_file(blob: Path, file: BundleFile) -> None:
    pieces = make_piece_list(blob, file.sha256)
    encoded = pieces.encode()
    assert decode_piece_list(encoded, file) == pieces
    others = (
        file.model_copy(update={"size_bytes": SIZE - 1}),
        file.model_copy(update={"sha256": "0" * 64}),
    )
    for other in others:
        with pytest.raises(PieceListRefused):
            decode_piece_list(encoded, other)
    for wrong in (b"", encoded[:20], encoded[:-1], encoded + b"x", b"X" + encoded[1:]):
        with pytest.raises(PieceListRefused):
            decode_piece_list(wrong, file)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(encoded: bytes) -> None:
    with pytest.raises(PieceListRefused):
        decode_piece_list(encoded, BundleFile(path="x", size_bytes=5, sha256="0" * 64))


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    sha256 = hashlib.sha256().hexdigest()
    pieces = make_piece_list(path, sha256)
    empty = BundleFile(path="x", size_bytes=0, sha256=sha256)
    assert (len(pieces), decode_piece_list(pieces.encode(), empty)) == (0, pieces)


def test_the_box_keeps_the_list_and_finds_a_damaged_file_before_it_travels(
    tmp_path: Path, blob: Path, content: bytes, file: BundleFile
) -> None:
    pieces = BoxFiles(tmp_path).piece_list(file.sha256)
    kept = tmp_path / "pieces" / file.sha256
    assert kept.read_bytes() == pieces.encode()
    assert BoxFiles(tmp_path).piece_list(file.sha256) == pieces
    kept.write_bytes(b"torn")
    assert BoxFiles(tmp_path).piece_list(file.sha256) == pieces
    kept.unlink()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedFile):
        BoxFiles(tmp_path).piece_list(file.sha256)
    assert not list((tmp_path / "pieces").glob("*.tmp"))


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path, blob: Path, file: BundleFile) -> None:
    files = BoxFiles(tmp_path)
    with pytest.raises(FileNotHere):
        files.piece_list("0" * 64)
    with pytest.raises(FileNotHere):
        files.open_piece(file.sha256, 4)
    descriptor, offset, length = files.open_piece(file.sha256, 3)
    os.close(descriptor)
    assert (offset, length) == (3 * SMALLEST_PIECE_BYTES, 7)
    blob.unlink()
    with pytest.raises(FileNotHere):
        files.open_piece(file.sha256, 0)
