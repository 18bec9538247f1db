"""Sessions of the browser: made at sign-in, gone at sign-out, at the latest 12 hours later.

The cookie holds 32 random bytes; storage holds only their SHA-256, so that a stolen database opens no
session. The pool admits chat requests with the same cookie, by the same hash.
"""

import secrets
from dataclasses import dataclass

from sqlite_utils import Database

from appliance.clock import now
from appliance.people.accounts import Account, get_account
from appliance.people.api_keys import hash_secret
from appliance.storage import transaction

SESSION_COOKIE = "cellule_session"
SESSION_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class NewSession:
    """`token` is the cookie's value; it is never stored."""

    token: str
    expires_at: float


def start_session(db: Database, account_id: str, *, replaces: str | None = None) -> NewSession:
    """A fresh session for `account_id`; the token that the browser brought along (`replaces`) ends."""
    created_at = now()
    session = NewSession(secrets.token_urlsafe(32), created_at + SESSION_SECONDS)
    with transaction(db):
        if replaces:
            db.execute("DELETE FROM sessions WHERE token_hash = ?", [hash_secret(replaces)])
        db.execute(
            "INSERT INTO sessions (token_hash, account_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
            [hash_secret(session.token), account_id, created_at, session.expires_at],
        )
    return session


def account_of_session(db: Database, token: str) -> Account | None:
    """Whose session `token` is, or None when it has ended or its account is disabled."""
    row = db.execute(
        "SELECT account_id FROM sessions JOIN accounts ON accounts.id = account_id"
        " WHERE token_hash = ? AND expires_at > ? AND disabled_at IS NULL",
        [hash_secret(token), now()],
    ).fetchone()
    return get_account(db, row[0]) if row else None


def end_session(db: Database, token: str) -> None:
    """Signs out: the token opens nothing from now on."""
    with transaction(db):
        db.execute("DELETE FROM sessions WHERE token_hash = ?", [hash_secret(token)])


def forget_old_sessions(db: Database) -> None:
    """Drops the sessions that have ended by themselves; they open nothing already."""
    with transaction(db):
        db.execute("DELETE FROM sessions WHERE expires_at <= ?", [now()])
