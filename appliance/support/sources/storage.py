"""What the databases are made of, never what they hold: tables, numbers of rows, migrations, soundness."""

from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from appliance.storage import DATABASE_FILES
from appliance.support.sources.box import as_json
from appliance.support.sources.context import Context, Part

_WEEK_SECONDS = 7 * 24 * 3600.0


def storage(context: Context) -> Iterator[Part]:
    """Both files, and how requests of the last week ended, as numbers."""
    opened = {"cellule.db": context.db, "activity.db": context.activity}
    facts = {name: _facts(context.settings.state_dir / name, opened[name]) for name in DATABASE_FILES}
    yield Part("storage.json", as_json(facts))
    outcomes = context.activity.query(
        "SELECT endpoint, outcome, status, count(*) AS requests FROM ledger"
        " WHERE at > (SELECT max(at) FROM ledger) - ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        [_WEEK_SECONDS],
    )
    yield Part("requests.json", as_json(list(outcomes)))


def _facts(path: Path, database: Database) -> dict[str, object]:
    tables = sorted(set(database.table_names()))
    return {
        "size_bytes": path.stat().st_size,
        "quick_check": database.execute("PRAGMA quick_check(5)").fetchall(),
        "migrations": [row[0] for row in database.execute("SELECT name FROM migrations ORDER BY rowid")],
        "rows": {table: database[table].count for table in tables},
    }
