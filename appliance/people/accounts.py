"""Accounts: who may sign in, as what. Admins run the box; users chat and call the API.

A name is kept folded (NFKC, case folded), so that "Ana" and "ana" are one person. The last admin who can
sign in can't be disabled, for nobody could undo it. An account made or reset by an admin carries an
initial password that its owner must replace before anything else.
"""

import re
import secrets
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from sqlite_utils import Database

from appliance.clock import now
from appliance.errors import Refused
from appliance.people.passwords import broken_rules, hash_password, password_matches
from appliance.storage import transaction

_NAME = re.compile(r"[^\W_][\w.@-]{1,63}")
_INITIAL_PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 an alphabet


class Role(StrEnum):
    """What an account may do; the values are stored."""

    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True)
class Account:
    """One row of accounts, without the password's hash. Times are epoch seconds."""

    id: str
    name: str
    role: Role
    language: str
    created_at: float
    disabled_at: float | None
    must_change_password: bool

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


class AccountNameRefused(Refused):
    """Not a name that can be typed and told apart by everybody."""

    code: ClassVar[str] = "account_name_refused"


class AccountNameTaken(Refused):
    """Another account has this name."""

    code: ClassVar[str] = "account_name_taken"
    http_status: ClassVar[int] = 409


class AccountUnknown(Refused):
    """No account has this id."""

    code: ClassVar[str] = "account_unknown"
    http_status: ClassVar[int] = 404


class LastAdmin(Refused):
    """Nobody could run the box any more."""

    code: ClassVar[str] = "last_admin"
    http_status: ClassVar[int] = 409


class WrongPassword(Refused):
    """The current password, asked for before it is replaced, is another one."""

    code: ClassVar[str] = "wrong_password"
    http_status: ClassVar[int] = 403


class PasswordUnchanged(Refused):
    """The new password is the current one, which others may know: an initial password must not live on."""

    code: ClassVar[str] = "password_unchanged"


def folded_name(name: str) -> str:
    """The form in which a name is stored and looked up."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def checked_name(name: str) -> str:
    """The folded name, if it is 2 to 64 letters, digits, '.', '-', '_' or '@'. Raises AccountNameRefused."""
    folded = folded_name(name)
    if not _NAME.fullmatch(folded):
        raise AccountNameRefused(
            "An account name has 2 to 64 characters: letters, digits and . - _ @, a letter or digit first.",
            param="name",
        )
    return folded


def make_initial_password(account_name: str) -> str:
    """A password for one use that keeps the rules, easy to read out: four groups of five, 99 bits."""
    name = folded_name(account_name)
    while True:
        groups = ("".join(secrets.choice(_INITIAL_PASSWORD_LETTERS) for _ in range(5)) for _ in range(4))
        password = "-".join(groups)
        # a short name stands in a random text now and then; a single character is no name, and may
        if len(name) < 2 or not broken_rules(password, name):
            return password


def insert_account(
    db: Database,
    name: str,
    password_hash: str,
    role: Role,
    language: str,
    *,
    must_change_password: bool = False,
) -> Account:
    """Writes an account whose name and password were checked; for callers already in a transaction.

    Raises AccountNameTaken.
    """
    if find_account(db, name):
        raise AccountNameTaken(f"There is already an account named {name}.", param="name")
    account = Account(secrets.token_hex(8), name, role, language, now(), None, must_change_password)
    db.execute(
        "INSERT INTO accounts (id, name, password_hash, role, language, created_at, must_change_password)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            account.id,
            name,
            password_hash,
            role.value,
            language,
            account.created_at,
            int(must_change_password),
        ],
    )
    return account


def create_account(
    db: Database, name: str, password: str, role: Role, language: str, *, must_change_password: bool = False
) -> Account:
    """Adds an account. Raises AccountNameRefused, AccountNameTaken, PasswordRefused."""
    name = checked_name(name)
    password_hash = hash_password(password, name)
    with transaction(db):
        return insert_account(
            db, name, password_hash, role, language, must_change_password=must_change_password
        )


def find_account(db: Database, name: str) -> Account | None:
    """The account of that name, in any spelling that folds to it."""
    rows = db.query(f"{_SELECT} WHERE name = ?", [folded_name(name)])
    return next((_account(row) for row in rows), None)


def get_account(db: Database, account_id: str) -> Account:
    """The account with that id. Raises AccountUnknown."""
    for row in db.query(f"{_SELECT} WHERE id = ?", [account_id]):
        return _account(row)
    raise AccountUnknown("There is no such account.")


def list_accounts(db: Database) -> list[Account]:
    """All accounts: those who can sign in first, then by name."""
    return [_account(row) for row in db.query(f"{_SELECT} ORDER BY disabled_at IS NOT NULL, name")]


def authenticate(db: Database, name: str, password: str) -> Account | None:
    """The enabled account that this name and password belong to; as slow for a name that nobody has."""
    row = db.execute(
        "SELECT password_hash FROM accounts WHERE name = ? AND disabled_at IS NULL", [folded_name(name)]
    ).fetchone()
    if not password_matches(row[0] if row else None, password):
        return None
    return find_account(db, name)


def change_password(db: Database, account: Account, current: str, new: str) -> None:
    """Replaces the owner's password and ends all sessions of the account.

    Raises WrongPassword, PasswordUnchanged, PasswordRefused.
    """
    if authenticate(db, account.name, current) is None:
        raise WrongPassword("The current password is not this one.", param="current")
    if new == current:
        raise PasswordUnchanged("This is the current password.", next_step="Choose another one.", param="new")
    _store_password(db, account.id, hash_password(new, account.name), must_change_password=False)


def reset_password(db: Database, account_id: str) -> str:
    """Gives the account an initial password, returned, and ends its sessions. Raises AccountUnknown."""
    account = get_account(db, account_id)
    password = make_initial_password(account.name)
    _store_password(db, account.id, hash_password(password, account.name), must_change_password=True)
    return password


def set_language(db: Database, account_id: str, language: str) -> None:
    """The language in which pages greet this account from now on."""
    with transaction(db):
        db.execute("UPDATE accounts SET language = ? WHERE id = ?", [language, account_id])


def disable_account(db: Database, account_id: str) -> None:
    """Ends all sessions and refuses sign-in from now on. Raises AccountUnknown, LastAdmin."""
    with transaction(db):
        account = get_account(db, account_id)
        others = "SELECT COUNT(*) FROM accounts WHERE role = 'admin' AND disabled_at IS NULL AND id != ?"
        if account.is_admin and db.execute(others, [account_id]).fetchone()[0] == 0:
            raise LastAdmin(
                "This is the only admin who can sign in.",
                next_step="Make another admin first, then disable this one.",
            )
        db.execute(
            "UPDATE accounts SET disabled_at = ? WHERE id = ? AND disabled_at IS NULL", [now(), account_id]
        )
        db.execute("DELETE FROM sessions WHERE account_id = ?", [account_id])


def enable_account(db: Database, account_id: str) -> None:
    """Lets a disabled account sign in again, with the password it had. Raises AccountUnknown."""
    with transaction(db):
        get_account(db, account_id)
        db.execute("UPDATE accounts SET disabled_at = NULL WHERE id = ?", [account_id])


_SELECT = "SELECT id, name, role, language, created_at, disabled_at, must_change_password FROM accounts"


def _account(row: dict[str, Any]) -> Account:
    return Account(
        **(row | {"role": Role(row["role"]), "must_change_password": bool(row["must_change_password"])}),
    )


def _store_password(db: Database, account_id: str, password_hash: str, *, must_change_password: bool) -> None:
    with transaction(db):
        db.execute(
            "UPDATE accounts SET password_hash = ?, must_change_password = ? WHERE id = ?",
            [password_hash, int(must_change_password), account_id],
        )
        db.execute("DELETE FROM sessions WHERE account_id = ?", [account_id])
