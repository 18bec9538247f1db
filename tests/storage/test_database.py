"""Opening, migrating and sharing the database files: on real files, from several processes."""

import multiprocessing
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.storage import SchemaTooNew, data_version, open_activity, open_cellule, transaction
from appliance.storage.activity_migrations import ACTIVITY
from appliance.storage.cellule_migrations import CELLULE
from appliance.storage.migrating import migrate
from appliance.storage.migration import Migration

ACCOUNT = {"id": "a", "name": "Ada", "password_hash": "h", "role": "admin", "created_at": 1.0}


def test_a_file_is_opened_in_wal_with_foreign_keys_and_for_its_owner_alone(tmp_path: Path) -> None:
    database = open_cellule(tmp_path)
    assert database.conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert database.conn.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert (tmp_path / "cellule.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(sqlite3.IntegrityError):
        database.table("sessions").insert(
            {"token_hash": "t", "account_id": "nobody", "created_at": 1, "expires_at": 2}
        )


def test_what_was_decided_is_on_the_disk_at_once_what_happens_a_little_later(tmp_path: Path) -> None:
    full, normal = 2, 1
    for opened, expected in ((open_cellule, full), (open_activity, normal)):
        assert opened(tmp_path).conn.execute("PRAGMA synchronous").fetchone()[0] == expected


def test_each_migration_is_recorded_once_however_often_the_file_is_opened(tmp_path: Path) -> None:
    for _ in range(3):
        open_cellule(tmp_path).close()
    names = [row["name"] for row in open_cellule(tmp_path)["migrations"].rows]
    assert names == [migration.name for migration in CELLULE]


def test_a_newer_schema_is_refused_with_a_sentence_and_nothing_is_changed(tmp_path: Path) -> None:
    database = open_cellule(tmp_path)
    database.table("accounts").insert(ACCOUNT)
    database.table("migrations").insert({"name": "9999_from_the_future", "applied_at": 1.0})
    database.close()
    before = (tmp_path / "cellule.db").read_bytes()
    with pytest.raises(SchemaTooNew, match="newer version") as refused:
        open_cellule(tmp_path)
    assert refused.value.next_step
    assert (tmp_path / "cellule.db").read_bytes() == before


def test_a_migration_that_fails_leaves_neither_its_tables_nor_its_record(tmp_path: Path) -> None:
    database = open_cellule(tmp_path)
    broken = Migration("0002_broken", ("CREATE TABLE half (id TEXT)", "CREATE TABLE accounts (id TEXT)"))
    with pytest.raises(sqlite3.OperationalError), transaction(database):
        migrate(database.conn, tmp_path / "cellule.db", (*CELLULE, broken))
    assert "half" not in database.table_names()
    assert "0002_broken" not in {row["name"] for row in database["migrations"].rows}


def test_who_meets_another_opener_of_a_new_file_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "cellule.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE unrelated (id TEXT)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO unrelated VALUES ('a')")
        released = threading.Timer(0.3, other.rollback)
        released.start()
        open_cellule(tmp_path).close()
        released.join()


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    starting = [context.Process(target=_open_and_close, args=(tmp_path,)) for _ in range(6)]
    for process in starting:
        process.start()
    for process in starting:
        process.join(60)
    assert [process.exitcode for process in starting] == [0] * 6
    assert open_activity(tmp_path)["migrations"].count == len(ACTIVITY)


def test_a_transaction_that_raises_changes_nothing(tmp_path: Path) -> None:
    database = open_cellule(tmp_path)
    with pytest.raises(KeyError), transaction(database):
        database.table("accounts").insert(ACCOUNT)
        raise KeyError
    assert database["accounts"].count == 0
    with transaction(database):
        database.table("accounts").insert(ACCOUNT)
    assert database["accounts"].count == 1


def test_another_connection_notices_a_change(tmp_path: Path) -> None:
    writer, reader = open_cellule(tmp_path), open_cellule(tmp_path)
    before = data_version(reader)
    assert data_version(reader) == before
    writer.table("accounts").insert(ACCOUNT)
    assert data_version(reader) != before


def _open_and_close(state_dir: Path) -> None:
    database: Database = open_activity(state_dir)
    database.close()
