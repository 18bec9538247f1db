"""The record of each node's machine, and how its last health check ended, as the box keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.hardware.facts import MachineFacts, read_told
from appliance.hardware.own import told_hardware
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


def keep_hardware(activity: Database, node: str, facts: MachineFacts, at: float) -> None:
    """Takes the place of what was known of the node."""
    activity.execute(
        "INSERT INTO node_hardware (node, at, facts) VALUES (?, ?, ?)"
        " ON CONFLICT (node) DO UPDATE SET at = excluded.at, facts = excluded.facts",
        [node, at, facts.model_dump_json()],
    )


def known_machines(activity: Database) -> dict[str, MachineFacts]:
    """By node. A record that this version can't read is no record."""
    told = activity.execute("SELECT node, facts FROM node_hardware")
    read = ((str(node), read_told(facts)) for node, facts in told)
    return {node: facts for node, facts in read if facts is not None}


def known_hardware(activity: Database, folders: Sequence[Path]) -> dict[str, HardwareReport]:
    """What each node is by the profiles in `folders`: those of the box, for the whole fleet."""
    told = activity.execute("SELECT node, facts FROM node_hardware")
    return told_hardware(folders, {str(node): facts for node, facts in told})


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
