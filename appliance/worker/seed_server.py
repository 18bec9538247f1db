"""`python -m appliance.worker.seed_server`: gives pieces of this machine's models to the workers that the box
names, and reads nothing else.

Runs as an unprivileged user on the tunnel address, where the firewall lets in only those workers. Who may
have what comes as lines of JSON (`SeedOrders`) on standard input, each of which replaces the one before; it
ends with its input. GET /have/SHA256 answers the map of a file, a byte a piece; GET /pieces/SHA256/INDEX a
piece. What lies here may be wrong, of our own doing or not: whoever fetches checks each piece.
"""

import argparse
import logging
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO, ClassVar

from pydantic import BaseModel, ConfigDict

from appliance.handout.pieces import PieceList, PieceListRefused, decode_piece_list
from appliance.handout.rate import TokenBucket
from appliance.models.bundle import BundleFile, Sha256
from appliance.worker.choosing import HERE
from appliance.worker.part_file import MAP_SUFFIX

log = logging.getLogger(__name__)

_PATH = re.compile(r"/(have|pieces)/([0-9a-f]{64})(?:/(\d{1,9}))?")
_CHUNK_BYTES = 128 * 1024
_MOST_CALLERS = 16
_IDLE_SECONDS = 60


class SeedOrders(BaseModel):
    """`files` of each worker that may have some, with their sizes, by tunnel address."""

    model_config = ConfigDict(frozen=True)

    bytes_per_second: int = 0
    files: dict[IPv4Address, dict[Sha256, int]] = {}


class Seeds:
    """The files as they lie on the disk now. `root` is that of the ModelStore."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._orders = SeedOrders()
        self._bucket = TokenBucket()
        self._lock = threading.Lock()
        self._lists: dict[str, PieceList] = {}

    def obey(self, orders: SeedOrders) -> None:
        with self._lock:
            self._orders = orders
            self._bucket.set_rate(orders.bytes_per_second)

    def may_have(self, address: str, sha256: str) -> bool:
        return sha256 in self._orders.files.get(IPv4Address(address), {})

    def states(self, address: str, sha256: str) -> bytes:
        """The file's map: all of it when it is whole, none of it when it is not here."""
        count = len(self._list(address, sha256))
        if (self._root / "blobs" / sha256).is_file():
            return bytes([HERE]) * count
        try:
            return (self._root / "partial" / f"{sha256}{MAP_SUFFIX}").read_bytes()[:count].ljust(count, b"\0")
        except FileNotFoundError:
            return bytes(count)

    def open_piece(self, address: str, sha256: str, index: int) -> tuple[BinaryIO, int, int]:
        """The file, to be closed, offset and length. Raises FileNotFoundError, IndexError."""
        pieces = self._list(address, sha256)
        length = pieces.length(index)
        if self.states(address, sha256)[index] != HERE:
            raise FileNotFoundError(sha256)
        try:
            file = (self._root / "blobs" / sha256).open("rb")
        except FileNotFoundError:
            file = (self._root / "partial" / sha256).open("rb")
        return file, pieces.offset(index), length

    def pace(self, count: int) -> None:
        """Waits until as much may be sent again."""
        with self._lock:
            delay = self._bucket.take(count, time.monotonic())
        time.sleep(delay)

    def _list(self, address: str, sha256: str) -> PieceList:
        found = self._lists.get(sha256)
        if found is None:
            size_bytes = self._orders.files[IPv4Address(address)][sha256]
            file = BundleFile(path=sha256, size_bytes=size_bytes, sha256=sha256)
            try:
                found = decode_piece_list((self._root / "pieces" / sha256).read_bytes(), file)
            except PieceListRefused as error:
                raise FileNotFoundError(sha256) from error
            self._lists[sha256] = found
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    seeds: ClassVar[Seeds]

    def do_GET(self) -> None:
        found = _PATH.fullmatch(self.path)
        address = self.client_address[0]
        if found is None or not self.seeds.may_have(address, found[2]):
            self._answer(403 if found else 404, b"")
            return
        try:
            if found[1] == "have":
                self._answer(200, self.seeds.states(address, found[2]))
            else:
                self._give(*self.seeds.open_piece(address, found[2], int(found[3] or 0)))
        except (FileNotFoundError, IndexError, KeyError):
            self._answer(404, b"")

    def _give(self, file: BinaryIO, offset: int, length: int) -> None:
        with file:
            self._head(200, length)
            end = offset + length
            while offset < end:
                # the kernel moves the bytes from the page cache; the cap decides when
                sent = self.connection.sendfile(file, offset, min(_CHUNK_BYTES, end - offset))
                if sent == 0:
                    raise ConnectionAbortedError("the file has become shorter")
                offset += sent
                self.seeds.pace(sent)

    def _answer(self, status: int, body: bytes) -> None:
        self._head(status, len(body))
        self.wfile.write(body)

    def _head(self, status: int, length: int) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    _callers = threading.BoundedSemaphore(_MOST_CALLERS)

    def process_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        if not self._callers.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._callers.release()

    def handle_error(self, request, client_address) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        log.info("%s left: %s", client_address[0], sys.exc_info()[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m appliance.worker.seed_server")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--address", type=IPv4Address, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s seed %(levelname)s %(message)s")
    seeds = Seeds(given.root)
    _Handler.seeds = seeds
    server = _Server((str(given.address), given.port), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        seeds.obey(SeedOrders.model_validate_json(line))


if __name__ == "__main__":
    main()
