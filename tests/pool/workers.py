"""A worker as the pool sees one: an approved row, reports that keep coming, and an engine at its address.

Loopback addresses stand for tunnel addresses; the tunnel itself is tested where it is made.
"""

import threading
from typing import Any

import orjson

from appliance.clock import now
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, transaction
from tests.conftest import free_port
from tests.pool.upstreams import ScriptedEngine

_REPORT_EVERY_SECONDS = 0.25


class ScriptedWorker:
    """Approved and reporting from the start; `fall_silent` stops the reports, `revoke` the approval."""

    def __init__(
        self, settings: Settings, name: str, number: int, *, model: str, port: int = 0, **engine: Any
    ) -> None:
        """`port`: of an engine that runs already; without it a scripted one is started."""
        self.id = f"worker-{name}"
        self.name = name
        self._settings = settings
        address = f"127.0.0.{number}"
        self._port = port or free_port()
        self.engine = ScriptedEngine((address, self._port), model=model, **engine)
        self._started = not port
        if self._started:
            self.engine.start()
        db = open_cellule(settings.state_dir)
        at = now()
        with transaction(db):
            db.execute(
                "INSERT INTO invitations (id, label, created_at, expires_at) VALUES (?, ?, ?, ?)",
                [self.id, name, at, at],
            )
            row = {
                "id": self.id, "name": name, "public_key": name, "invitation_id": self.id,
                "state": "approved", "short_code": "1", "poll_key": b"k", "facts": "{}",
                "tunnel_address": address, "created_at": at,
            }  # fmt: skip
            columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
            db.execute(f"INSERT INTO workers ({columns}) VALUES ({marks})", row)
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)
        self._thread.start()

    def _report(self) -> None:
        db = open_activity(self._settings.state_dir)
        while not self._silent.is_set():
            engine = {**self.engine.health, "port": self._port}
            report = orjson.dumps({"name": self.name, "engines": [engine], "load": {}}).decode()
            with transaction(db):
                db.execute("INSERT OR REPLACE INTO node_reports VALUES (?, ?, ?)", [self.id, now(), report])
            self._silent.wait(_REPORT_EVERY_SECONDS)

    def fall_silent(self) -> None:
        self._silent.set()
        self._thread.join()

    def revoke(self) -> None:
        db = open_cellule(self._settings.state_dir)
        with transaction(db):
            db.execute("UPDATE workers SET state = 'revoked', revoked_at = ? WHERE id = ?", [now(), self.id])

    def stop(self) -> None:
        self.fall_silent()
        if self._started:
            self.engine.stop()
