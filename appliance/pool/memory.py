"""What the pool holds in memory of the database, and the thread that keeps it fresh.

Five times a second the thread asks SQLite whether cellule.db changed; if so it reads keys, sessions and
workers anew and hands them to the event loop. So a revoked key or worker is gone within a fraction of a
second, and the loop itself never reads a file.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import orjson
from sqlite_utils import Database

from appliance.clock import now
from appliance.models.making_way import read_making_way
from appliance.models.naming import ModelNames, load_names
from appliance.people.api_keys import Callers, load_callers
from appliance.pool.limits import Limits
from appliance.pool.nodes import EngineHealth
from appliance.settings import WORKER_ENGINE_PORT, Settings
from appliance.storage import data_version, open_activity, open_cellule
from appliance.upstream import Address

News = TypeVar("News")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """An approved worker, as far as the pool is concerned."""

    id: str
    name: str
    tunnel_address: str


@dataclass(frozen=True)
class Decided:
    """What was decided: who may call, which workers take part, what models are called, which engines make way
    for others."""

    callers: Callers
    workers: tuple[Worker, ...]
    names: ModelNames
    making_way: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Heard:
    """What the machines last said: the workers' engines, and the sockets of the box's own."""

    engines: tuple[EngineHealth, ...]
    box_sockets: tuple[Path, ...]


def read_decided(db: Database) -> Decided:
    rows = db.execute(
        "SELECT id, name, tunnel_address FROM workers WHERE state = 'approved' AND tunnel_address IS NOT NULL"
    )
    workers = tuple(Worker(*row) for row in rows)
    return Decided(load_callers(db), workers, load_names(db), read_making_way(db))


def read_heard(db: Database, workers: tuple[Worker, ...], box_sockets: tuple[Path, ...]) -> Heard:
    by_id = {worker.id: worker for worker in workers}
    engines: list[EngineHealth] = []
    for node_id, at, report in db.execute("SELECT node, at, report FROM node_reports"):
        worker = by_id.get(node_id)
        if worker is not None:
            seen_at = monotonic() - max(0.0, now() - at)
            for engine in orjson.loads(report).get("engines", ()):
                port = int(engine.get("port") or WORKER_ENGINE_PORT)
                engines.append(
                    health(engine, worker.id, worker.name, Address(worker.tunnel_address, port), seen_at)
                )
    return Heard(tuple(engines), box_sockets)


def health(said: dict[str, Any], node_id: str, node: str, address: Address, seen_at: float) -> EngineHealth:
    """An engine's /health/ready answer as the pool uses it."""
    return EngineHealth(
        node_id=node_id,
        node=node,
        address=address,
        model=str(said["model"]),
        ready=bool(said.get("ready")),
        slots=max(1, int(said.get("slots") or 1)),
        tokens_per_second=float(said.get("tokens_per_second") or 0),
        seen_at=seen_at,
        prompt_tokens=int(said.get("prompt_tokens") or 0),
        report=said,
    )


class Memory:
    """Runs the thread between `start` and `stop`; the callbacks are called in the event loop."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        on_decided: Callable[[Decided], None],
        on_heard: Callable[[Heard], None],
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._on_decided = on_decided
        self._on_heard = on_heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Reads everything once, so that the first request finds it, then keeps it fresh."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._read_first)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _read_first(self) -> None:
        self._cellule = open_cellule(self._settings.state_dir)
        self._activity = open_activity(self._settings.state_dir)
        self._version = data_version(self._cellule)
        self._decided = read_decided(self._cellule)
        self._tell(self._on_decided, self._decided)

    def _run(self) -> None:
        heard_at = float("-inf")
        while not self._stopping.wait(self._limits.refresh_every_seconds):
            try:
                self._refresh_decided()
                if monotonic() - heard_at >= self._limits.reports_every_seconds:
                    heard_at = monotonic()
                    heard = read_heard(self._activity, self._decided.workers, self._settings.engine_sockets())
                    self._tell(self._on_heard, heard)
            except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
                log.error("what the pool knows could not be refreshed: %s", error)
        self._cellule.close()
        self._activity.close()

    def _refresh_decided(self) -> None:
        version = data_version(self._cellule)
        if version != self._version:
            self._decided = read_decided(self._cellule)
            self._version = version  # after reading: a failed read is repeated
            self._tell(self._on_decided, self._decided)

    def _tell(self, callback: Callable[[News], None], news: News) -> None:
        self._loop.call_soon_threadsafe(callback, news)
