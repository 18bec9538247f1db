"""Pieces from the box: one large file whose list is being made holds nobody else up."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.handout import box_files, serving
from appliance.handout.box_files import BoxFiles
from appliance.handout.contract import LOWEST_CAP_BYTES_PER_SECOND, PIECES_PATH
from appliance.handout.pieces import LARGEST_PIECE_BYTES, PieceList, make_piece_list
from appliance.handout.rate import TokenBucket
from appliance.handout.serving import ListBeingMade, PieceServer, Right
from appliance.pool.asgi import Message


async def anybody(address: str, sha256: str) -> Right:
    return Right(address, 0)


async def got(server: PieceServer, path: str) -> bytes:
    """The body of what the server answers. Raises its refusals."""
    body = bytearray()

    async def send(message: Message) -> None:
        body.extend(message.get("body", b""))

    await server.respond({"path": PIECES_PATH + path, "client": ("10.77.0.9", 1)}, send)
    return bytes(body)


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def put(folder: Path, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "blobs").mkdir(exist_ok=True)
    (folder / "blobs" / sha256).write_bytes(content)
    return sha256


def test_a_list_that_is_being_made_stalls_nobody_and_is_made_once(
    tmp_path: Path, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = put(tmp_path, b"large" * 100_000), put(tmp_path, b"small")
    BoxFiles(tmp_path).piece_list(small)
    made: list[str] = []

    def takes_long(path: Path, sha256: str) -> PieceList:
        made.append(sha256)
        go_on.wait(60)
        return make_piece_list(path, sha256)

    monkeypatch.setattr(box_files, "make_piece_list", takes_long)
    monkeypatch.setattr(serving, "_LIST_SECONDS", 0.3)

    async def body() -> None:
        server = PieceServer(BoxFiles(tmp_path), anybody)
        asking = [asyncio.create_task(got(server, large)) for _ in range(4)]
        async with asyncio.timeout(20):
            assert await got(server, f"{small}/0") == b"small"
            for each in asking:
                with pytest.raises(ListBeingMade):
                    await each
            go_on.set()
            monkeypatch.setattr(serving, "_LIST_SECONDS", 20)
            assert await got(server, large) == BoxFiles(tmp_path).piece_list(large).encode()

    asyncio.run(body())
    assert made == [large]


@pytest.mark.parametrize("cap", [LOWEST_CAP_BYTES_PER_SECOND, 150_000, 1_000_000, 50_000_000])
def test_under_no_cap_many_workers_keep_each_other_from_ever_getting_a_piece(cap: int) -> None:
    """As many as may be sent at once share the cap, chunk by chunk, until the last is through."""
    at_once, bucket, at = serving.pieces_at_once(cap), TokenBucket(), 0.0
    bucket.set_rate(cap)
    assert 1 <= at_once <= serving.pieces_at_once(0)
    for _ in range(at_once * LARGEST_PIECE_BYTES // 2**15):
        at += bucket.take(2**15, at)
    assert at < serving._SLOWEST_PIECE_SECONDS * 0.6
