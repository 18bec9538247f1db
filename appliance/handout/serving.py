"""GET /enrol/pieces/…: the box gives pieces of a model to workers that should have it, and to nobody else.

The event loop, which relays people's answers, neither reads the disk nor waits here: reading is done by
threads, sending is paced by the admin's cap, and each worker has few pieces at once. A list that must be made
first has a thread of its own: who asks for other files waits for none of it.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar, TypeVarTuple

from appliance.errors import Refused, TryAgain
from appliance.handout.box_files import BoxFiles
from appliance.handout.contract import PIECES_PATH
from appliance.handout.pieces import LARGEST_PIECE_BYTES, PieceList
from appliance.handout.rate import TokenBucket
from appliance.pool.asgi import Scope, Send, answer

_PATH = re.compile(re.escape(PIECES_PATH) + r"([0-9a-f]{64})(?:/(0|[1-9]\d{0,8}))?")
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_CHUNK_BYTES = 256 * 1024
_SLOW_CHUNK_BYTES = 32 * 1024
"""Under a low cap, so that whoever waits for its turn hears something before it gives up."""
_SLOW_BYTES_PER_SECOND = 8 * _CHUNK_BYTES
_MOST_PIECES_AT_ONCE = 16
_PIECES_OF_ONE_WORKER = 2
_LIST_SECONDS = 15.0
"""Sooner than who asks gives up."""
_SLOWEST_PIECE_SECONDS = 600.0
"""A worker that takes longer for one piece is cut off: it would hold memory for nothing."""


class NoSuchPiece(Refused):
    code = "not_found"
    http_status = 404


class TooManyPieces(TryAgain):
    """This worker, or all of them together, already get as many pieces as may be sent at once."""

    code = "too_many_pieces"


class ListBeingMade(TryAgain):
    """A large file from before lists were made as it was taken in."""

    code = "piece_list_being_made"


@dataclass(frozen=True)
class Right:
    """A worker that may have a file, and the cap of the box for all workers together."""

    worker_id: str
    bytes_per_second: int


def pieces_at_once(bytes_per_second: int) -> int:
    """So many that under that cap (0: none) each is through long before it would be cut off."""
    if not bytes_per_second:
        return _MOST_PIECES_AT_ONCE
    in_time = bytes_per_second * _SLOWEST_PIECE_SECONDS / 2 / LARGEST_PIECE_BYTES
    return max(1, min(_MOST_PIECES_AT_ONCE, int(in_time)))


MayHave = Callable[[str, str], Awaitable[Right]]
"""Of a caller's address and a file's hash. Raises NotTrusted, Refused or TryAgain."""


class PieceServer:
    """Answers requests whose path begins with PIECES_PATH."""

    def __init__(self, files: BoxFiles, may_have: MayHave) -> None:
        self._files = files
        self._may_have = may_have
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pieces")
        self._lister = ThreadPoolExecutor(max_workers=1, thread_name_prefix="piece-lists")
        self._being_made: dict[str, asyncio.Future[PieceList]] = {}
        self._bucket = TokenBucket()
        self._at_once: Counter[str] = Counter()

    async def respond(self, scope: Scope, send: Send) -> None:
        """Raises the refusals of `may_have`, FileNotHere, NoSuchPiece, TooManyPieces, ListBeingMade."""
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            raise NoSuchPiece("There is nothing at this address.")
        sha256, index = found.groups()
        right = await self._may_have(scope["client"][0], sha256)
        if index is None:
            pieces = await self._list(sha256)
            await answer(send, 200, pieces.encode(), [(b"content-type", b"application/octet-stream")])
            return
        if self._at_once[right.worker_id] >= _PIECES_OF_ONE_WORKER or self._at_once.total() >= pieces_at_once(
            right.bytes_per_second
        ):
            raise TooManyPieces("The box gives other pieces just now.", retry_after_seconds=1)
        self._at_once[right.worker_id] += 1
        try:
            async with asyncio.timeout(_SLOWEST_PIECE_SECONDS):
                await self._send_piece(send, right, sha256, int(index))
        finally:
            self._at_once -= Counter([right.worker_id])

    async def _list(self, sha256: str) -> PieceList:
        if (kept := await self._read(self._files.kept_list, sha256)) is not None:
            return kept
        made = self._being_made.get(sha256)
        if made is None:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(self._lister, self._files.piece_list, sha256)
            self._being_made[sha256] = made
            made.add_done_callback(lambda _: self._being_made.pop(sha256))
        # whoever gives up waiting, or leaves, doesn't end the work that others wait for
        if not (await asyncio.wait([made], timeout=_LIST_SECONDS))[0]:
            raise ListBeingMade(
                "The box reads this file through once before it hands it out.", retry_after_seconds=10
            )
        return made.result()

    async def _send_piece(self, send: Send, right: Right, sha256: str, index: int) -> None:
        await self._list(sha256)
        descriptor, offset, length = await self._read(self._files.open_piece, sha256, index)
        try:
            headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % length)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            self._bucket.set_rate(right.bytes_per_second)
            is_slow = 0 < right.bytes_per_second < _SLOW_BYTES_PER_SECOND
            chunk_bytes = _SLOW_CHUNK_BYTES if is_slow else _CHUNK_BYTES
            for start in range(0, length, chunk_bytes):
                count = min(chunk_bytes, length - start)
                await asyncio.sleep(self._bucket.take(count, monotonic()))
                chunk = await self._read(os.pread, descriptor, count, offset + start)
                more = start + count < length
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        finally:
            os.close(descriptor)

    async def _read(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)
