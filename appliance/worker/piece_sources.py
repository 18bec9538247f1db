"""Who gives pieces: the box, over TLS whose key is pinned, and other workers, over the tunnel to them.

One connection each, kept open. Nothing that a source says is believed but the box's list of pieces; a piece
is checked by whoever asked for it.
"""

import contextlib
import http.client
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import monotonic

from appliance.enrolment.pinned import Address, box_refusal, box_unreachable, pinned_connection
from appliance.errors import Refusal, TryAgain
from appliance.handout.contract import PIECES_PATH, Link
from appliance.handout.pieces import PieceList, decode_piece_list
from appliance.handout.rate import TokenBucket
from appliance.models.bundle import BundleFile
from appliance.settings import WORKER_HANDOUT_PORT
from appliance.worker.choosing import HERE

WORKER_GIVES_UP_AFTER_SECONDS = 10.0
BOX_GIVES_UP_AFTER_SECONDS = 30.0
"""Of each wait on the network; the box may have many to serve."""
_CHUNK_BYTES = 128 * 1024
_LONGEST_LIST_BYTES = 32 * 1024 * 1024
_MAP_KEPT_SECONDS = 0.3
_BELIEVED_SECONDS = 8.0
"""How long we wait for a worker that has everything, as the box says, before we ask the box instead."""


class SourceFailed(TryAgain):
    """The source did not give the piece now."""

    code = "source_failed"


class Pace:
    """One cap for all that this machine receives; threads share it."""

    def __init__(self, wait: Callable[[float], object] = time.sleep) -> None:
        self._bucket = TokenBucket()
        self._lock = threading.Lock()
        self._wait = wait

    def set_rate(self, bytes_per_second: int) -> None:
        with self._lock:
            self._bucket.set_rate(bytes_per_second)

    def received(self, count: int) -> None:
        """Waits until as much may be received again."""
        with self._lock:
            delay = self._bucket.take(count, monotonic())
        if delay:
            self._wait(delay)


class PieceSource(ABC):
    """Used by one thread at a time, but for `close`."""

    name: str
    failures = 0
    """In a row."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None

    @abstractmethod
    def path(self, sha256: str, index: int) -> str: ...

    @abstractmethod
    def connect(self) -> http.client.HTTPConnection: ...

    def read_piece(self, sha256: str, index: int, into: memoryview, pace: Pace) -> None:
        """Fills `into` with what the source says is the piece. Raises SourceFailed."""
        try:
            response = self._get(self.path(sha256, index))
            if response.length != len(into):
                raise http.client.IncompleteRead(b"")
            while into:
                count = response.readinto(into[:_CHUNK_BYTES])
                if count == 0:
                    raise http.client.IncompleteRead(b"")
                into = into[count:]
                pace.received(count)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        self.failures = 0

    def read_whole(self, path: str, limit_bytes: int) -> bytes:
        """A short answer as a whole. Raises SourceFailed, or what `refusal` makes of another status."""
        try:
            response = self._get(path)
            return response.read(limit_bytes)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def interrupt(self) -> None:
        """Ends a wait of the thread that uses it."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def refusal(self, response: http.client.HTTPResponse) -> Refusal:
        """What to raise for a status other than 200."""
        response.read(_CHUNK_BYTES)
        return SourceFailed(f"{self.name} answered with status {response.status}.", retry_after_seconds=1)

    def _get(self, path: str) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self.connect()
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            self.failures += 1
            raise self.refusal(response)
        return response

    def _failed(self, error: Exception) -> SourceFailed:
        self.failures += 1
        self.close()
        return SourceFailed(f"{self.name} does not give pieces now: {error}.", retry_after_seconds=1)


class BoxSource(PieceSource):
    """The box's front inside the tunnel."""

    name = "The box"

    def __init__(self, address: Address, pin: bytes) -> None:
        super().__init__()
        self._address = address
        self._pin = pin

    def path(self, sha256: str, index: int) -> str:
        return f"{PIECES_PATH}{sha256}/{index}"

    def connect(self) -> http.client.HTTPConnection:
        try:
            return pinned_connection(self._address, self._pin, timeout_seconds=BOX_GIVES_UP_AFTER_SECONDS)
        except (OSError, ValueError) as error:
            raise box_unreachable(self._address, error) from error

    def piece_list(self, file: BundleFile) -> PieceList:
        """Raises PieceListRefused, SourceFailed, and what the box refuses with."""
        return decode_piece_list(self.read_whole(f"{PIECES_PATH}{file.sha256}", _LONGEST_LIST_BYTES), file)

    def refusal(self, response: http.client.HTTPResponse) -> Refusal:
        retry_after = response.headers.get("retry-after")
        return box_refusal(response.status, retry_after, response.read(_CHUNK_BYTES))


class WorkerSource(PieceSource):
    """Another worker, at its own tunnel address."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.name = str(link.tunnel_address)
        self._maps: dict[str, tuple[float, bytes]] = {}
        self._silent_since: float | None = monotonic()

    def path(self, sha256: str, index: int) -> str:
        return f"/pieces/{sha256}/{index}"

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(
            self.name, WORKER_HANDOUT_PORT, timeout=WORKER_GIVES_UP_AFTER_SECONDS
        )
        connection.connect()
        return connection

    def map(self, digest: str, pieces: PieceList) -> bytes:
        """Which pieces it has, as far as we know now: by its own word, before that by the box's."""
        known = self._maps.get(pieces.sha256)
        if known is not None and self._silent_since is None:
            return known[1]
        is_believed = self._silent_since is not None and monotonic() - self._silent_since < _BELIEVED_SECONDS
        if digest in self.link.has_all_of and is_believed:
            return bytes([HERE]) * len(pieces)
        return bytes(len(pieces))

    def refresh(self, pieces: PieceList) -> bool:
        """Asks for its map unless that is fresh or full; whether it gave one."""
        at, known = self._maps.get(pieces.sha256, (float("-inf"), b""))
        if self._silent_since is None and (
            monotonic() - at < _MAP_KEPT_SECONDS or (known and min(known) == HERE)
        ):
            return True
        try:
            told = self.read_whole(f"/have/{pieces.sha256}", len(pieces) + 1)
        except SourceFailed:
            self._silent_since = self._silent_since or monotonic()
            return False
        if len(told) != len(pieces):
            return False
        self._silent_since = None
        self._maps[pieces.sha256] = (monotonic(), told)
        return True
