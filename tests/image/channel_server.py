"""A web server for a channel: answers Range requests as RAUC makes them, and counts the bytes it sends."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_CHUNK_BYTES = 256 * 1024


class ChannelServer(http.server.ThreadingHTTPServer):
    """Serves `folder` on `address`; `sent_bytes` counts bodies. Made in the namespace that it stands in.

    `stalled` makes it accept requests and answer none of them; `stalls_at` does so once so many bytes were
    sent. `go_away` ends what is stalled, and the server.
    """

    daemon_threads = True

    def __init__(self, folder: Path, address: str, port: int = 8000) -> None:
        super().__init__((address, port), partial(_Handler, directory=str(folder)))
        self.folder = folder
        self.sent_bytes = 0
        self.stalled = threading.Event()
        self.stalls_at: int | None = None
        self._gone = threading.Event()
        self.url = f"http://{address}:{port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def count(self, sent: int) -> None:
        """So many bytes more were sent."""
        self.sent_bytes += sent
        if self.stalls_at is not None and self.sent_bytes >= self.stalls_at:
            self.stalled.set()

    def hold_up(self) -> bool:
        """Waits while it is stalled; whether it was."""
        return self.stalled.is_set() and self._gone.wait(600)

    def go_away(self) -> None:
        """As a server that was switched off."""
        self._gone.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChannelServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        if self.server.hold_up():
            self.close_connection = True
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        asked = _RANGE.match(self.headers.get("range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), size - 1) if asked and asked[2] else size - 1
        self.send_response(206 if asked else 200)
        self.send_header("accept-ranges", "bytes")
        self.send_header("content-length", str(last - first + 1))
        if asked:
            self.send_header("content-range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self._send(path, first, last - first + 1)

    def _send(self, path: Path, first: int, count: int) -> None:
        with path.open("rb") as file:
            file.seek(first)
            while count > 0 and (data := file.read(min(count, _CHUNK_BYTES))):
                self.wfile.write(data)
                self.server.count(len(data))
                count -= len(data)

    def log_message(self, *_: Any) -> None:
        """Silent: the test prints what counts."""
