"""What each node was recognised as, and how its last health check ended: as kept on the box (activity.db)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from appliance.hardware.report import HardwareReport

if TYPE_CHECKING:  # a worker has no database, and doesn't load one
    from sqlite_utils import Database


@dataclass(frozen=True)
class HealthRecord:
    """The last time that a model on a node was asked its profile's prompt. `at` in epoch seconds."""

    node: str
    model: str
    at: float
    ok: bool
    seconds: float
    sentence: str


def keep_hardware(activity: Database, node: str, report: HardwareReport, at: float) -> None:
    """Takes the place of what was known of the node."""
    activity.execute(
        "INSERT INTO node_hardware (node, at, report) VALUES (?, ?, ?)"
        " ON CONFLICT (node) DO UPDATE SET at = excluded.at, report = excluded.report",
        [node, at, report.model_dump_json()],
    )


def known_hardware(activity: Database) -> dict[str, HardwareReport]:
    """By node. A record that another version wrote and this one can't read is no record."""
    found = {}
    for node, report in activity.execute("SELECT node, report FROM node_hardware"):
        try:
            found[str(node)] = HardwareReport.model_validate_json(report)
        except ValidationError:
            continue
    return found


def keep_health(activity: Database, record: HealthRecord) -> None:
    """Takes the place of the last check of that model on that node."""
    activity.execute(
        "INSERT INTO node_health (node, model, at, ok, seconds, sentence) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, model) DO UPDATE SET"
        " at = excluded.at, ok = excluded.ok, seconds = excluded.seconds, sentence = excluded.sentence",
        [record.node, record.model, record.at, record.ok, record.seconds, record.sentence],
    )


def known_health(activity: Database) -> dict[tuple[str, str], HealthRecord]:
    """By node and model."""
    rows = activity.execute("SELECT node, model, at, ok, seconds, sentence FROM node_health")
    return {
        (node, model): HealthRecord(node, model, at, bool(ok), seconds, sentence)
        for node, model, at, ok, seconds, sentence in rows
    }


def forget_nodes(activity: Database, known: set[str]) -> None:
    """Drops what is kept of nodes that are not `known` any more."""
    for table in ("node_hardware", "node_health"):
        for (node,) in activity.execute(f"SELECT DISTINCT node FROM {table}").fetchall():  # noqa: S608
            if node not in known:
                activity.execute(f"DELETE FROM {table} WHERE node = ?", [node])  # noqa: S608
