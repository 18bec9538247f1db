"""Brings a file to the schema of this version: up with what is missing, down from what it doesn't know.

Each migration is applied in one transaction with its record. The record says how an older version, which does
not know the migration, can work on the file: as it is (an additive one), after the recorded statements (a
two-way one), or not at all. Either all of it happens or nothing; a file that is refused is left untouched.
"""

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.clock import now
from appliance.errors import Refused
from appliance.storage.migration import Migration


class SchemaTooNew(Refused):
    """The file was written by a newer version; going on could destroy what that version stored."""

    code = "schema_too_new"


@dataclass(frozen=True)
class Record:
    """One applied migration; `down` is None where it was recorded without saying how it is undone."""

    name: str
    down: tuple[str, ...] | None


def migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...]) -> None:
    """Called inside a write transaction. Raises SchemaTooNew; sqlite3.Error when a statement fails."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL, down TEXT)"
    )
    with suppress(sqlite3.OperationalError):  # it has the column already
        connection.execute("ALTER TABLE migrations ADD COLUMN down TEXT")
    records = read_records(connection)
    for record in steps_down(path, records, migrations):
        for statement in record.down or ():
            connection.execute(statement)
        connection.execute("DELETE FROM migrations WHERE name = ?", [record.name])
    applied = {record.name: record for record in records}
    for migration in migrations:
        down = json.dumps(migration.down)
        if migration.name not in applied:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations (name, applied_at, down) VALUES (?, ?, ?)",
                [migration.name, now(), down],
            )
        elif applied[migration.name].down is None:
            connection.execute("UPDATE migrations SET down = ? WHERE name = ?", [down, migration.name])


def read_records(connection: sqlite3.Connection) -> list[Record]:
    """What was applied, in that order; empty for a file without migrations."""
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(migrations)")}
    if not columns:
        return []
    down = "down" if "down" in columns else "NULL"
    return [
        Record(name, None if recorded is None else tuple(json.loads(recorded)))
        for name, recorded in connection.execute(f"SELECT name, {down} FROM migrations ORDER BY rowid")  # noqa: S608
    ]


def steps_down(path: Path, records: list[Record], migrations: tuple[Migration, ...]) -> list[Record]:
    """The unknown migrations to undo, last applied first; unknown additive ones stay. Raises SchemaTooNew."""
    known = {migration.name for migration in migrations}
    unknown = [record for record in reversed(records) if record.name not in known]
    for record in unknown:
        if record.down is None:
            raise SchemaTooNew(
                f"{path.name} was written by a newer version of Cellule (unknown here: {record.name}).",
                next_step="Start that version again, or restore a backup made with this one.",
            )
    return [record for record in unknown if record.down]
