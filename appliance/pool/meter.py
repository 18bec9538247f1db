"""Last step: exactly one ledger line for each request that was admitted, whatever became of it.

Lines are collected in memory and written by a thread twice a second and at the end, so the data plane
never waits for the disk. A write that fails is tried again with the next batch; nothing is dropped.
The same thread prints one log line a request (never a word of its text) and stores the pool's reports.
"""

import logging
import secrets
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TextIO

import orjson
from sqlite_utils import Database

from appliance.clock import now
from appliance.people.api_keys import Caller
from appliance.pool.kinds import Endpoint
from appliance.storage import open_activity, transaction

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    """The client left."""
    REFUSED = "refused"
    """By the pool or by the node: the caller must change something or come again."""
    FAILED = "failed"
    """No node could answer; nothing was passed on."""
    INTERRUPTED = "interrupted"
    """The answer broke off after its first part was passed on."""


class LedgerLine(NamedTuple):
    """One row of the ledger table, in the order of its columns."""

    at: float
    request_id: str
    key_id: str | None
    account_id: str | None
    endpoint: str
    model: str | None
    node: str | None
    attempts: int
    tokens_in: int
    tokens_out: int
    queue_seconds: float
    first_token_seconds: float | None
    duration_seconds: float
    outcome: str
    status: int


_LOG_NAMES = ("event", *LedgerLine._fields)
_COLUMNS = ", ".join(LedgerLine._fields)
_ROW = f"({', '.join('?' * len(LedgerLine._fields))})"
_PORTION = 50
"""Rows of one statement: SQLite runs it without Python's lock, for which this thread would else wait row by
row. More at once would take fresh memory from the system each time, which costs more than the work."""

_boot = secrets.token_hex(6)
_count = 0


def new_request_id() -> str:
    """A request id that no other request of any run has."""
    global _count  # noqa: PLW0603 one counter for the process, cheaper than randomness for each request
    _count += 1
    return f"req-{_boot}-{_count:x}"


class Exchange:
    """The facts of one request, gathered on its way; `line` is its ledger line."""

    __slots__ = (
        "at", "attempts", "caller", "endpoint", "first_token_seconds", "model", "node", "outcome", "place",
        "queue_seconds", "request_id", "started", "status", "tokens_in", "tokens_out",
    )  # fmt: skip

    def __init__(self, request_id: str, caller: Caller, endpoint: Endpoint) -> None:
        self.request_id = request_id
        self.caller = caller
        self.endpoint = endpoint
        self.at = now()
        self.started = monotonic()
        self.model: str | None = None
        self.node: str | None = None
        """Its id, for two may have the same name."""
        self.attempts = 0
        self.place = 0
        """In the queue when the request joined it; 0 if it did not have to wait."""
        self.tokens_in = 0
        self.tokens_out = 0
        self.queue_seconds = 0.0
        self.first_token_seconds: float | None = None
        """From the request to the first token passed on; only of streams."""
        self.outcome = Outcome.FAILED
        self.status = 500

    def ended(self, outcome: Outcome, status: int) -> None:
        self.outcome = outcome
        self.status = status

    def line(self) -> LedgerLine:
        # plain strings: SQLite and orjson take an enum's member only by a detour
        return LedgerLine(
            self.at, self.request_id, self.caller.key_id, self.caller.account_id, self.endpoint.value,
            self.model, self.node, self.attempts, self.tokens_in, self.tokens_out, self.queue_seconds,
            self.first_token_seconds, monotonic() - self.started, self.outcome.value, self.status,
        )  # fmt: skip


class Meter:
    """Takes lines from the event loop and writes them from its own thread, from `start` to `stop`."""

    def __init__(self, state_dir: Path, every_seconds: float, log_to: TextIO = sys.stderr) -> None:
        self._state_dir = state_dir
        self._every_seconds = every_seconds
        self._log_to = log_to
        self._lines: deque[LedgerLine] = deque()
        self._reports: dict[str, tuple[float, bytes]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter")

    def start(self) -> None:
        self._thread.start()

    def record(self, line: LedgerLine) -> None:
        """Adds a line; it is on disk within about a second."""
        self._lines.append(line)

    def report(self, node: str, document: bytes) -> None:
        """Stores a node report (JSON) with the next batch, in place of the last one."""
        self._reports[node] = now(), document

    def stop(self) -> None:
        """Writes what is left and ends the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        database = open_activity(self._state_dir)
        while not self._stopping.wait(self._every_seconds):
            self._flush(database)
        while not self._flush(database):
            self._stopping.wait(self._every_seconds)
        database.close()

    def _flush(self, database: Database) -> bool:
        """Writes everything collected so far; False if the disk did not take it."""
        lines = list(self._lines)
        reports, self._reports = self._reports, {}
        if not lines and not reports:
            return True
        try:
            with transaction(database):
                for some in _portions(lines):
                    _insert(database, some)
                database.conn.executemany(
                    "INSERT OR REPLACE INTO node_reports (node, at, report) VALUES (?, ?, ?)",
                    [(node, at, document.decode()) for node, (at, document) in reports.items()],
                )
        except sqlite3.Error as error:
            log.error("the ledger could not be written, %d lines wait: %s", len(lines), error)
            return False
        for _ in lines:
            self._lines.popleft()
        for some in _portions(lines):
            self._log_to.write(b"".join([_log_line(line) for line in some]).decode())
        self._log_to.flush()
        return True


def _portions(lines: list[LedgerLine]) -> Iterator[list[LedgerLine]]:
    return (lines[start : start + _PORTION] for start in range(0, len(lines), _PORTION))


def _insert(database: Database, lines: list[LedgerLine]) -> None:
    rows = ", ".join([_ROW] * len(lines))
    values = list(chain.from_iterable(lines))
    database.conn.execute(f"INSERT INTO ledger ({_COLUMNS}) VALUES {rows}", values)  # noqa: S608


def _log_line(line: LedgerLine) -> bytes:
    named = dict(zip(_LOG_NAMES, ("request", *line), strict=True))
    return orjson.dumps(named, option=orjson.OPT_APPEND_NEWLINE)
