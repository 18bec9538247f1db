"""A small hub on a real socket: the part of the Hugging Face hub's API that a download needs, with faults.

https://huggingface.co/docs/hub/api: /api/models/REPO/revision/REV lists files with size, LFS SHA-256 and
git's hash; HEAD on /REPO/resolve/COMMIT/PATH tells X-Repo-Commit, X-Linked-Etag and X-Linked-Size and where
the bytes are (a redirect to another host for large files); GET answers Range requests.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "Example/Tiny-GGUF"


@dataclass
class Faults:
    """What goes wrong: cut `cuts` times after so many bytes; `wrong` bytes of the right length."""

    cut_after: int | None = None
    cuts: int = 1
    wrong: bool = False
    other_sha256: bool = False
    other_etag: bool = False
    status: int = 0
    silent: bool = False
    """It takes calls and answers none before `go_on`."""
    needs_token: str = ""
    slow_bytes: int | None = None
    """After so many bytes it waits for `go_on`."""


@dataclass
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Content:
    """What the hub holds; `large` files are kept by their SHA-256 at the other host."""

    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    licence: str = "apache-2.0"
    commit: str = COMMIT


class HubServer(ThreadingHTTPServer):
    """One host; `elsewhere` is the host that large files are redirected to."""

    daemon_threads = True

    def __init__(self, content: Content, elsewhere: "HubServer | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.elsewhere = content, elsewhere
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.sent_bytes = 0
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, method: str, start: str) -> list[Seen]:
        return [each for each in self.seen if each.method == method and each.path.startswith(start)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server = self.server
        path = urlsplit(self.path).path
        server.seen.append(Seen(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if server.faults.silent:
            server.go_on.wait(60)
        with suppress(BrokenPipeError, ConnectionResetError):
            if server.faults.status:
                self._send(server.faults.status, b"{}")
            elif (token := server.faults.needs_token) and self.headers.get(
                "Authorization"
            ) != f"Bearer {token}":
                self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
            elif path.startswith("/api/models/"):
                self._list(path)
            elif path.startswith("/blobs/"):
                self._file(server.content.files[path.removeprefix("/blobs/")])
            else:
                self._resolve(path)

    def _list(self, path: str) -> None:
        content = self.server.content
        repository = path.removeprefix("/api/models/").split("/revision/")[0]
        if repository != REPOSITORY:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [self._sibling(name, data) for name, data in content.files.items()]
        card = {"license": content.licence}
        told = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": content.commit, "cardData": card, "tags": []}
        self._send(200, json.dumps(told | {"siblings": siblings}).encode())

    def _sibling(self, name: str, data: bytes) -> dict[str, Any]:
        git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        told: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
        if name in self.server.content.large:
            sha256 = hashlib.sha256(data + b"?" * self.server.faults.other_sha256).hexdigest()
            told["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 135}
        return told

    def _resolve(self, path: str) -> None:
        server = self.server
        name = path.split("/resolve/")[1].split("/", 1)[1]
        data = server.content.files[name]
        if name not in server.content.large:
            git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            self._file(data, {"ETag": f'"{git}"', "X-Repo-Commit": server.content.commit})
            return
        sha256 = hashlib.sha256(data + b"!" * server.faults.other_etag + b"?" * server.faults.other_sha256)
        headers = {
            "X-Repo-Commit": server.content.commit,
            "X-Linked-Etag": f'"{sha256.hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"{(server.elsewhere or server).url}/blobs/{name}",
        }
        self._send(302, b"", headers)

    def _file(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        faults, status, headers = self.server.faults, 200, headers or {}
        if faults.wrong:
            data = bytes([data[0] ^ 1]) + data[1:]
        if wanted := self.headers.get("Range"):
            first = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            data, status = data[first:], 206
        self._send(status, data, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        faults = self.server.faults
        if faults.slow_bytes is not None and len(body) > faults.slow_bytes:
            self._write(body[: faults.slow_bytes])
            self.server.go_on.wait(60)
            body = body[faults.slow_bytes :]
        if faults.cut_after is not None and len(body) > faults.cut_after and faults.cuts > 0:
            faults.cuts -= 1
            self._write(body[: faults.cut_after])
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self._write(body)

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.server.sent_bytes += len(data)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def serving(content: Content, elsewhere: HubServer | None = None) -> Iterator[HubServer]:
    server = HubServer(content, elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
