"""Calls to an adopted server: on this machine only, with a limit of time and size on every answer.

The server's key, if it wants one, is read from a file once, and is in the request's head and nowhere else.
"""

import asyncio
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import orjson
import psutil

from appliance.errors import Refused
from appliance.upstream import Address, Connection, Upstream, UpstreamLost

CONNECT_SECONDS = 2.0
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
KEY_LIMIT_CHARACTERS = 4096


class UrlRefused(Refused):
    """Not the address of a server on this machine."""

    code: ClassVar[str] = "adopted_url_refused"


class KeyUnreadable(Refused):
    """The file with the server's key can't be used."""

    code: ClassVar[str] = "adopted_key_unreadable"


@dataclass(frozen=True)
class Place:
    """Where an adopted server is: what `http://host:port` says."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(url: str, own_addresses: frozenset[str]) -> Place:
    """Raises UrlRefused unless `url` is plain http to loopback or to one of this machine's `own_addresses`.

    A worker must not become a way into the rest of the LAN.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UrlRefused(f"{url[:100]!r} is no address of a server.") from None
    if host == "localhost":
        host = "127.0.0.1"
    if parts.scheme != "http" or not port or parts.path not in ("", "/", "/v1", "/v1/") or parts.username:
        raise UrlRefused(f"{url[:100]!r} is not like http://127.0.0.1:8000.")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UrlRefused(f"{host[:100]!r} is a name: give the server's address.") from None
    if not is_loopback and host not in own_addresses:
        raise UrlRefused(f"{host} is not an address of this machine.", next_step="Adopt it where it runs.")
    return Place(host, port)


def own_addresses() -> frozenset[str]:
    """The IP addresses of this machine's interfaces."""
    addresses = (each.address for one in psutil.net_if_addrs().values() for each in one)
    return frozenset(address.partition("%")[0] for address in addresses)


def read_key(file: Path) -> str:
    """The first line of the file. Raises KeyUnreadable."""
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnreadable(f"The key of the adopted server can't be read: {error}.") from error
    if not key.isascii() or not key.isprintable() or not 0 < len(key) <= KEY_LIMIT_CHARACTERS:
        raise KeyUnreadable(f"{file} does not hold one key.", next_step="Write the key alone into it.")
    return key


@dataclass(frozen=True)
class Reply:
    """A whole answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """None where the body is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Asker:
    """Asks one server. Used in one event loop."""

    def __init__(self, place: Place, key: str = "", *, connect_seconds: float = CONNECT_SECONDS) -> None:
        self.place = place
        self._address = Address(place.host, place.port)
        self._authorization = f"authorization: Bearer {key}\r\n" if key else ""
        self._upstream = Upstream(connect_seconds)

    async def get(self, path: str, *, within_seconds: float) -> Reply:
        """Raises UpstreamLost, also when the limit of time or size passes."""
        return await self._whole("GET", path, None, within_seconds)

    async def post(self, path: str, body: object, *, within_seconds: float) -> Reply:
        """As `get`, with `body` as JSON."""
        return await self._whole("POST", path, orjson.dumps(body), within_seconds)

    async def begin(self, method: str, path: str, body: bytes | None) -> Connection:
        """A connection whose answer has begun; release it. Raises UpstreamLost."""
        request = self._request(method, path, body)
        fresh = False
        while True:
            connection = (None if fresh else self._upstream.idle(self._address)) or (
                await self._upstream.open(self._address)
            )
            try:
                connection.write(request)
                await connection.head()
            except UpstreamLost:
                connection.release()
                # the server may close a kept connection at the moment when it is used again
                if not connection.reused or connection.received_any:
                    raise
                fresh = True
            except BaseException:
                connection.release()
                raise
            else:
                return connection

    def close(self) -> None:
        self._upstream.close()

    async def _whole(self, method: str, path: str, body: bytes | None, within_seconds: float) -> Reply:
        try:
            async with asyncio.timeout(within_seconds):
                connection = await self.begin(method, path, body)
                try:
                    return Reply(connection.status, headers_of(connection), await read_whole(connection))
                finally:
                    connection.release()
        except TimeoutError:
            raise UpstreamLost(f"no whole answer within {within_seconds:g} s") from None

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        entity = "" if body is None else f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self.place}\r\naccept: */*\r\n{self._authorization}{entity}"
        )
        return f"{head}\r\n".encode("latin-1") + (body or b"")


def headers_of(connection: Connection) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in connection.headers}


async def read_whole(connection: Connection) -> bytes:
    """Raises UpstreamLost when it breaks off or is larger than any answer should be."""
    parts: list[bytes] = []
    size = 0
    while (part := await connection.read()) is not None:
        parts.append(part)
        size += len(part)
        if size > ANSWER_LIMIT_BYTES:
            raise UpstreamLost("its answer is too large")
    return b"".join(parts)
