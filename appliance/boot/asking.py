"""One HTTP request to a service of this machine, on its unix socket or on its port, in TLS on wish."""

import http.client
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._tls = path, tls

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock)


def ask(
    where: Path | str,
    path: str,
    *,
    body: bytes | None = None,
    timeout_seconds: float = 5.0,
    tls: bool = False,
) -> tuple[int, bytes]:
    """Status and body of GET `path`, or of POST with a JSON `body`; `where` is a socket or a base URL.

    Raises OSError or http.client.HTTPException when there is no answer.
    """
    connection = _connection(where, timeout_seconds, tls=tls)
    try:
        headers = {"content-type": "application/json"} if body is not None else {}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _connection(where: Path | str, timeout_seconds: float, *, tls: bool) -> http.client.HTTPConnection:
    if isinstance(where, Path):
        return _UnixConnection(where, timeout_seconds, _own_certificate() if tls else None)
    parts = urlsplit(where)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    return http.client.HTTPSConnection(host, port, timeout=timeout_seconds, context=_own_certificate())


def _own_certificate() -> ssl.SSLContext:
    """For our own listeners: on the machine itself there is nobody in between."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
