"""The language of the screen: as chosen at the keyboard, else that of the first admin, else English."""

import sqlite3

from sqlite_utils import Database

from appliance.console.texts import LANGUAGES
from appliance.storage import Choice, read_choice


class ConsoleChoice(Choice):
    """`language` is "" until somebody chose at the keyboard."""

    language: str = ""


def console_language(db: Database) -> str:
    """One of LANGUAGES. Raises sqlite3.Error."""
    chosen = read_choice(db, ConsoleChoice).language
    if chosen not in LANGUAGES:
        row = _first_admin(db)
        chosen = str(row[0]) if row else ""
    return chosen if chosen in LANGUAGES else LANGUAGES[0]


def _first_admin(db: Database) -> sqlite3.Row | None:
    rows = db.execute("SELECT language FROM accounts WHERE role = 'admin' ORDER BY created_at LIMIT 1")
    return rows.fetchone()  # type: ignore[no-any-return]
