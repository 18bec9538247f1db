"""A web server for a channel, with Range requests as RAUC needs them, and faults by path."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Fault(Enum):
    """What goes wrong with a file."""

    SILENT = auto()
    DRIPPING = auto()
    ENDLESS = auto()
    BROKEN = auto()
    ELSEWHERE = auto()


class ChannelServer(ThreadingHTTPServer):
    """Serves `folder`; `asked` are the paths in order, `sent_bytes` what went out."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.faults = folder, dict[str, Fault]()
        self.asked: list[str] = []
        self.sent_bytes = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChannelServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        with suppress(BrokenPipeError, ConnectionResetError):
            fault = self.server.faults.get(self.path)
            if fault:
                self._fail(fault)
            else:
                self._serve(self.server.folder / self.path.lstrip("/"))

    def _serve(self, path: Path) -> None:
        if not path.is_file():
            self.send_error(404)
            return
        content, status = path.read_bytes(), 200
        headers = {"Accept-Ranges": "bytes"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = int(last) + 1 if last else len(content)
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
            content, status = content[int(first) : end], 206
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.server.sent_bytes += len(content)

    def _fail(self, fault: Fault) -> None:
        self.close_connection = True
        if fault is Fault.SILENT:
            self.server.over.wait(30)
            return
        if fault is Fault.BROKEN:
            self.send_error(500)
            return
        if fault is Fault.ELSEWHERE:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        while not self.server.over.is_set():
            self.wfile.write(b" " if fault is Fault.DRIPPING else b" " * 100_000)
            if fault is Fault.DRIPPING:
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def serving(folder: Path) -> Iterator[ChannelServer]:
    server = ChannelServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
