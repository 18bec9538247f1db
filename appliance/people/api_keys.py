"""API keys: made once, shown once, kept as a hash, revoked at once; and the callers the pool admits.

The secret is 32 random bytes, so a plain SHA-256 of it cannot be searched; what is stored beside the
hash is only the first characters, for a person to tell keys apart.
"""

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass, field

from sqlite_utils import Database

from appliance.clock import now
from appliance.errors import Refused
from appliance.storage import transaction

KEY_START = "sk-cellule-"
_LONGEST_NAME = 100
_SHOWN_CHARACTERS = len(KEY_START) + 6


class UnknownApiKey(Refused):
    code = "unknown_api_key"
    http_status = 404


class BadApiKeyRequest(Refused):
    code = "bad_api_key_request"


@dataclass(frozen=True)
class ApiKey:
    """One key as it is shown in lists; times are epoch seconds."""

    id: str
    name: str
    prefix: str
    account_id: str | None
    requests_per_minute: int | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None


@dataclass(frozen=True)
class NewApiKey:
    """A key just made. `secret` exists here only: it is shown once and stored nowhere."""

    record: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Caller:
    """Who may send requests with one key or one browser session; times are epoch seconds."""

    id: str
    """The share of the fair queue: `key:ID` or `account:ID`."""
    key_id: str | None
    account_id: str | None
    requests_per_minute: int | None
    expires_at: float | None
    revoked_at: float | None
    account_disabled: bool


@dataclass(frozen=True)
class Callers:
    """Everyone who may call, by the SHA-256 (hex) of what they present."""

    by_key_hash: dict[str, Caller]
    by_session_hash: dict[str, Caller]


def hash_secret(secret: str) -> str:
    """The stored form of an API key or a session token: SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_api_key(
    db: Database,
    name: str,
    *,
    account_id: str | None,
    expires_at: float | None = None,
    requests_per_minute: int | None = None,
) -> NewApiKey:
    """Makes and stores a key. Raises BadApiKeyRequest for an odd name, a past expiry, a rate below 1
    or an unknown account."""
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise BadApiKeyRequest(f"A key's name has 1 to {_LONGEST_NAME} printable characters.", param="name")
    if expires_at is not None and expires_at <= now():
        raise BadApiKeyRequest("The expiry lies in the past.", param="expires_at")
    if requests_per_minute is not None and requests_per_minute < 1:
        raise BadApiKeyRequest("A key may send at least 1 request per minute.", param="requests_per_minute")
    secret = KEY_START + secrets.token_urlsafe(32)
    record = ApiKey(
        id=secrets.token_hex(8),
        name=name,
        prefix=secret[:_SHOWN_CHARACTERS],
        account_id=account_id,
        requests_per_minute=requests_per_minute,
        created_at=now(),
        expires_at=expires_at,
        revoked_at=None,
    )
    row = vars(record) | {"key_hash": hash_secret(secret)}
    columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
    try:
        with transaction(db):
            db.execute(f"INSERT INTO api_keys ({columns}) VALUES ({values})", row)  # noqa: S608 our own columns
    except sqlite3.IntegrityError:
        raise BadApiKeyRequest(f"There is no account {account_id}.", param="account_id") from None
    return NewApiKey(record, secret)


def revoke_api_key(db: Database, key_id: str) -> None:
    """Revokes a key; the pool stops admitting it within 2 seconds. Repeating is harmless.

    Raises UnknownApiKey.
    """
    with transaction(db):
        found = db.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", [now(), key_id]
        ).rowcount
    if not found:
        raise UnknownApiKey("There is no such API key.", next_step="Reload the list of keys.")


def list_api_keys(db: Database) -> list[ApiKey]:
    """All keys, newest first, revoked and expired ones too."""
    columns = ", ".join(ApiKey.__dataclass_fields__)
    rows = db.execute(f"SELECT {columns} FROM api_keys ORDER BY created_at DESC, id")  # noqa: S608
    return [ApiKey(*row) for row in rows]


def load_callers(db: Database) -> Callers:
    """Every key, also revoked and expired ones (so that their refusal can say so), and every session."""
    keys = db.execute(
        """SELECT key_hash, api_keys.id, account_id, requests_per_minute, expires_at, revoked_at,
                  accounts.disabled_at IS NOT NULL
           FROM api_keys LEFT JOIN accounts ON accounts.id = account_id"""
    )
    by_key_hash = {
        key_hash: Caller(f"key:{key_id}", key_id, account_id, rate, expires_at, revoked_at, disabled)
        for key_hash, key_id, account_id, rate, expires_at, revoked_at, disabled in keys
    }
    # whoever still has the password that an admin has seen may only choose a new one
    sessions = db.execute(
        """SELECT token_hash, account_id, expires_at, accounts.disabled_at IS NOT NULL
           FROM sessions JOIN accounts ON accounts.id = account_id AND NOT accounts.must_change_password"""
    )
    by_session_hash = {
        token_hash: Caller(f"account:{account_id}", None, account_id, None, expires_at, None, disabled)
        for token_hash, account_id, expires_at, disabled in sessions
    }
    return Callers(by_key_hash, by_session_hash)
