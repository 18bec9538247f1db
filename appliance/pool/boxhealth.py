"""Asks the box's own engines, each on its unix socket, whether they are ready."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from appliance.pool.limits import Limits
from appliance.pool.memory import health
from appliance.pool.nodes import EngineHealth
from appliance.settings import BOX_NODE
from appliance.upstream import Address, Upstream, UpstreamLost

_STAYS = ("model", "kind", "engine", "device")
"""Of an engine's answer: what is true of it while it does not answer, too."""
_REQUEST = b"GET /health/ready HTTP/1.1\r\nhost: engine\r\n\r\n"


class BoxHealth:
    """`look_at` names what lies in the run directory; a socket that nobody answers on is simply not heard."""

    def __init__(self, upstream: Upstream, limits: Limits) -> None:
        self._sockets: tuple[Path, ...] = ()
        self._upstream = upstream
        self._limits = limits
        self._told: dict[Path, dict[str, Any]] = {}

    @property
    def addresses(self) -> set[Address]:
        return {Address.unix(path) for path in self._sockets}

    def look_at(self, sockets: tuple[Path, ...]) -> None:
        """From now on these are asked; what was heard of others is forgotten."""
        self._sockets = sockets
        self._told = {path: told for path, told in self._told.items() if path in sockets}

    async def ask_all(self) -> tuple[EngineHealth, ...]:
        """What each engine says of itself; one that does not answer is not ready."""
        return tuple(
            said
            for said in await asyncio.gather(*(self._ask(path) for path in self._sockets))
            if said is not None and said.address in self.addresses
        )

    async def _ask(self, path: Path) -> EngineHealth | None:
        address = Address.unix(path)
        try:
            async with asyncio.timeout(self._limits.health_timeout_seconds):
                said = orjson.loads(await self._get(address))
            answer = health(said, BOX_NODE, BOX_NODE, address, monotonic())
            self._told[path] = {name: said[name] for name in _STAYS if name in said}
        except (UpstreamLost, TimeoutError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            if path not in self._told:
                return None
            said = {**self._told[path], "ready": False}
            return health(said, BOX_NODE, BOX_NODE, address, monotonic())
        return answer

    async def _get(self, address: Address) -> bytes:
        connection = self._upstream.idle(address) or await self._upstream.open(address)
        try:
            connection.write(_REQUEST)
            body = b""
            while (data := await connection.read()) is not None:
                body += data
            return body
        finally:
            connection.release()
