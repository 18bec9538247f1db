"""Up, down and up again, on real files: the two slots of a box take turns at the same data."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.storage import SchemaTooNew, database
from appliance.storage.activity_migrations import ACTIVITY
from appliance.storage.cellule_migrations import CELLULE
from appliance.storage.migration import Migration

FIRST = Migration("0001_notes", ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",))
ADDITIVE = Migration(
    "0002_colours",
    (
        "ALTER TABLE notes ADD COLUMN colour TEXT NOT NULL DEFAULT 'white'",
        "CREATE TABLE colours (name TEXT PRIMARY KEY)",
    ),
)
TWO_WAY = Migration(
    "0003_title_and_body",
    (
        "ALTER TABLE notes RENAME COLUMN text TO title",
        "ALTER TABLE notes ADD COLUMN body TEXT NOT NULL DEFAULT ''",
        "UPDATE notes SET body = substr(title, instr(title, ': ') + 2), "
        "title = substr(title, 1, instr(title, ': ') - 1) WHERE instr(title, ': ')",
    ),
    down=(
        "UPDATE notes SET title = title || ': ' || body WHERE body != ''",
        "ALTER TABLE notes DROP COLUMN body",
        "ALTER TABLE notes RENAME COLUMN title TO text",
    ),
)
OLD, NEW = (FIRST,), (FIRST, ADDITIVE, TWO_WAY)
SHIPPED = {"cellule.db": CELLULE, "activity.db": ACTIVITY}


@contextmanager
def opened(path: Path, migrations: tuple[Migration, ...]) -> Iterator[Database]:
    with closing(database._open(path, migrations)) as db:
        yield db


def rows(db: Database, sql: str) -> list[tuple[object, ...]]:
    return list(db.execute(sql).fetchall())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


def test_up_down_up_keeps_the_data_and_what_the_old_version_wrote(path: Path) -> None:
    with opened(path, OLD) as db:
        db.execute("INSERT INTO notes (text) VALUES ('Monday: call Ada'), ('plain')")
    with opened(path, NEW) as db:
        assert rows(db, "SELECT title, body, colour FROM notes") == [
            ("Monday", "call Ada", "white"),
            ("plain", "", "white"),
        ]
        db.execute("INSERT INTO notes (title, body, colour) VALUES ('Tuesday', 'lunch', 'red')")
        db.execute("INSERT INTO colours VALUES ('red')")
    with opened(path, OLD) as db:
        assert rows(db, "SELECT text FROM notes") == [("Monday: call Ada",), ("plain",), ("Tuesday: lunch",)]
        db.execute("INSERT INTO notes (text) VALUES ('Wednesday: written by the old one')")
        db.execute("UPDATE notes SET text = 'Monday: call Bob' WHERE id = 1")
    with opened(path, NEW) as db:
        assert rows(db, "SELECT title, body, colour FROM notes") == [
            ("Monday", "call Bob", "white"),
            ("plain", "", "white"),
            ("Tuesday", "lunch", "red"),
            ("Wednesday", "written by the old one", "white"),
        ]
        assert rows(db, "SELECT name FROM colours") == [("red",)], "the additive one was never undone"


def test_the_old_version_can_open_the_file_any_number_of_times(path: Path) -> None:
    with opened(path, NEW):
        pass
    for _ in range(3):
        with opened(path, OLD) as db:
            assert rows(db, "SELECT name FROM migrations ORDER BY rowid") == [
                ("0001_notes",),
                ("0002_colours",),
            ]


def test_one_that_does_not_say_how_it_is_undone_is_refused_and_nothing_is_undone(path: Path) -> None:
    with opened(path, NEW) as db:
        db.execute("INSERT INTO migrations (name, applied_at) VALUES ('0004_silent', 1.0)")
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="0004_silent"), opened(path, OLD):
        pass
    assert path.read_bytes() == before


def test_a_way_down_that_fails_changes_nothing(path: Path) -> None:
    broken = Migration("0004_broken", ("CREATE TABLE x (y)",), down=("DROP TABLE x", "DROP TABLE nowhere"))
    with opened(path, (*NEW, broken)):
        pass
    with pytest.raises(sqlite3.OperationalError, match="nowhere"), opened(path, OLD):
        pass
    with opened(path, (*NEW, broken)) as db:
        assert {"x", "notes", "colours"} <= set(db.table_names())
        assert "body" in db["notes"].columns_dict


def test_a_file_from_before_the_ways_down_were_recorded_learns_them(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)")
        for migration in (FIRST, ADDITIVE):
            for statement in migration.statements:
                old.execute(statement)
            old.execute("INSERT INTO migrations VALUES (?, 1.0)", [migration.name])
        old.commit()
    with pytest.raises(SchemaTooNew), opened(path, OLD):
        pass
    with opened(path, NEW):
        pass
    with opened(path, OLD) as db:
        assert "text" in db["notes"].columns_dict


@pytest.mark.parametrize("name", SHIPPED)
def test_every_older_version_can_work_between_two_starts_of_this_one(tmp_path: Path, name: str) -> None:
    shipped = SHIPPED[name]
    with opened(tmp_path / name, shipped) as db:
        whole = db.schema
    for length in range(1, len(shipped)):
        path = tmp_path / f"{length}-{name}"
        for migrations in (shipped, shipped[:length], shipped):
            with opened(path, migrations) as db:
                schema = db.schema
        assert schema == whole


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name in SHIPPED for number in range(len(SHIPPED[name]))]
)
def test_a_migration_is_additive_or_its_way_down_leads_back(tmp_path: Path, name: str, number: int) -> None:
    before, with_it = SHIPPED[name][:number], SHIPPED[name][: number + 1]
    migration = SHIPPED[name][number]
    assert_keeps_its_word(tmp_path / name, before, with_it, migration)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE notes DROP COLUMN text",
        "ALTER TABLE notes RENAME COLUMN text TO words",
        "DROP TABLE notes",
        "ALTER TABLE notes RENAME TO papers",
        "CREATE UNIQUE INDEX one_text ON notes(text)",
        "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; END",
    ],
)
def test_what_only_claims_to_be_additive_is_found(path: Path, statement: str) -> None:
    claims = Migration("0002_claims", (statement,))
    with pytest.raises(AssertionError):
        assert_keeps_its_word(path, OLD, (FIRST, claims), claims)


def assert_keeps_its_word(
    path: Path, before: tuple[Migration, ...], with_it: tuple[Migration, ...], migration: Migration
) -> None:
    with opened(path, before) as db:
        old, old_schema = shapes(db), db.schema
    with opened(path, with_it) as db:
        new = shapes(db)
    if not migration.is_additive:
        with opened(path, before) as db:
            assert db.schema == old_schema, f"{migration.name} does not lead back"
        return
    for table, shape in old.items():
        assert table in new, f"{migration.name} takes the table {table} away"
        added = new[table]["columns"][len(shape["columns"]) :]
        assert new[table]["columns"] == shape["columns"] + added, f"{migration.name} changes {table}"
        assert all(not not_null or default is not None for _, _, not_null, default, _ in added)
        assert new[table]["rules"] == shape["rules"], f"{migration.name} adds a rule to {table}"


def shapes(db: Database) -> dict[str, dict[str, list[tuple[object, ...]]]]:
    """Of each table: its columns, and the rules that an old version's writes could break."""
    return {
        table: {
            "columns": [tuple(row[1:6]) for row in rows(db, f"PRAGMA table_info({table})")],
            "rules": [
                *(row[1:3] for row in rows(db, f"PRAGMA index_list({table})") if row[2]),
                *rows(db, f"PRAGMA foreign_key_list({table})"),
                *rows(db, f"SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'"),
            ],
        }
        for table in db.table_names()
    }
