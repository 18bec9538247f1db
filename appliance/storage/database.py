"""Opening a database file: WAL, foreign keys, for its owner alone, with the schema of this version."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from appliance.storage.activity_migrations import ACTIVITY
from appliance.storage.cellule_migrations import CELLULE
from appliance.storage.migrating import migrate, read_records, steps_down
from appliance.storage.migration import Migration

_OWNER_ONLY = 0o600
_BUSY_SECONDS = 10
DATABASE_FILES = {"cellule.db": CELLULE, "activity.db": ACTIVITY}


def open_cellule(state_dir: Path) -> Database:
    """cellule.db under `state_dir`, migrated. Raises SchemaTooNew."""
    return _open(state_dir / "cellule.db", CELLULE)


def open_activity(state_dir: Path) -> Database:
    """activity.db under `state_dir`, migrated. Raises SchemaTooNew."""
    return _open(state_dir / "activity.db", ACTIVITY, synchronous="NORMAL")


def check_schemas(state_dir: Path) -> None:
    """Changes neither file. Raises SchemaTooNew when this version can't work on what a newer one wrote."""
    for name, migrations in DATABASE_FILES.items():
        path = (state_dir / name).absolute()
        if not path.exists():
            continue
        uri = f"{path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
            steps_down(path, read_records(connection), migrations)


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


def _open(path: Path, migrations: tuple[Migration, ...], *, synchronous: str = "FULL") -> Database:
    """With `synchronous` FULL each commit is on the disk before it returns: what a page confirmed outlives a
    power cut. NORMAL may lose the last seconds, and is for what is written often.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # autocommit outside of `transaction`; each thread that writes opens its own connection
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    if path.stat().st_mode & 0o777 != _OWNER_ONLY:
        # asked first: the verdict on a boot looks as a root that may not change other users' files
        path.chmod(_OWNER_ONLY)
    # looking for plugins reads the metadata of every package, and there are none
    database = Database(connection, execute_plugins=False)
    try:
        _write_ahead(connection)
        for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        # the lock is taken before the records are read: two processes starting together migrate once
        with transaction(database):
            migrate(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return database


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Sets WAL, asking again while another opens the same new file: for that change SQLite does not wait."""
    give_up_at = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(0.01)
