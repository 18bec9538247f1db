"""Opening a database file: WAL, foreign keys, and migrations, recorded in the transaction that applies them.

A file written by a newer version of the product is refused before anything in it is touched.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from appliance.clock import now
from appliance.errors import Refused
from appliance.storage.migrations import ACTIVITY, CELLULE, Migration


class SchemaTooNew(Refused):
    """The file was written by a newer version; going on could destroy what that version stored."""

    code = "schema_too_new"


def open_cellule(state_dir: Path) -> Database:
    """cellule.db under `state_dir`, migrated. Raises SchemaTooNew."""
    return _open(state_dir / "cellule.db", CELLULE)


def open_activity(state_dir: Path) -> Database:
    """activity.db under `state_dir`, migrated. Raises SchemaTooNew."""
    return _open(state_dir / "activity.db", ACTIVITY)


def check_schemas(state_dir: Path) -> None:
    """Changes neither file. Raises SchemaTooNew when either was written by a newer version."""
    for name, migrations in (("cellule.db", CELLULE), ("activity.db", ACTIVITY)):
        path = (state_dir / name).absolute()
        if not path.exists():
            continue
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=10)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
                _applied(connection, path, migrations)


@contextmanager
def transaction(database: Database) -> Iterator[None]:
    """One write transaction, taken at once (BEGIN IMMEDIATE): what is read in it is true until the commit."""
    connection = database.conn
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def data_version(database: Database) -> int:
    """Differs from the last call's once another connection has changed the file (PRAGMA data_version)."""
    return int(database.conn.execute("PRAGMA data_version").fetchone()[0])


def _open(path: Path, migrations: tuple[Migration, ...]) -> Database:
    path.parent.mkdir(parents=True, exist_ok=True)
    # autocommit outside of `transaction`; each thread that writes opens its own connection
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
    database = Database(connection)
    try:
        _migrate(database, path, migrations)
    except BaseException:
        connection.close()
        raise
    return database


def _migrate(database: Database, path: Path, migrations: tuple[Migration, ...]) -> None:
    # the lock is taken before the list is read: two processes starting together migrate once
    with transaction(database):
        database.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"
        )
        applied = _applied(database.conn, path, migrations)
        for migration in migrations:
            if migration.name not in applied:
                for statement in migration.statements:
                    database.execute(statement)
                database.execute("INSERT INTO migrations VALUES (?, ?)", [migration.name, now()])


def _applied(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...]) -> set[str]:
    applied = {str(row[0]) for row in connection.execute("SELECT name FROM migrations")}
    if unknown := applied - {migration.name for migration in migrations}:
        raise SchemaTooNew(
            f"{path.name} was written by a newer version of Cellule (unknown here: {max(unknown)}).",
            next_step="Start that version again, or restore a backup made with this one.",
        )
    return applied
