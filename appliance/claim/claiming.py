"""Claiming the box: the claim code, once, turns its bearer into the first admin.

The box is claimed as soon as one admin account exists; that is read and written in one transaction, so
that of many claims at the same moment one succeeds. Wrong codes are throttled per address, and loosely
over all addresses: a code of 80 bits can't be guessed, and nobody shall lock the owner out.
"""

from typing import ClassVar

from sqlite_utils import Database

from appliance.claim.code import code_matches, remove_claim_code, write_claim_code
from appliance.errors import NotTrusted, Refused
from appliance.people import (
    Account,
    Patience,
    Role,
    checked_name,
    forget_attempts,
    hash_password,
    insert_account,
    record_attempt,
)
from appliance.settings import Settings
from appliance.storage import open_cellule, transaction

# no account can have this name, so it shares the table of attempts with sign-in
_ATTEMPT_NAME = ":claim"
_OVER_ALL_ADDRESSES = Patience(free_failures=200, longest_wait_seconds=10.0)
_PER_ADDRESS = Patience(free_failures=10)


class AlreadyClaimed(Refused):
    """The box has its first admin; it was somebody else, or an earlier try of the same person."""

    code: ClassVar[str] = "already_claimed"
    http_status: ClassVar[int] = 409


class WrongClaimCode(NotTrusted):
    """Not the code on the box's console."""

    code: ClassVar[str] = "wrong_claim_code"
    http_status: ClassVar[int] = 403


def is_claimed(db: Database) -> bool:
    """Whether the box has an owner: any admin account, even a disabled one."""
    return db.execute("SELECT 1 FROM accounts WHERE role = 'admin' LIMIT 1").fetchone() is not None


def ensure_claim_code(settings: Settings) -> str | None:
    """The code of an unclaimed box, made at the first start; None, and no file left, once it is claimed."""
    db = open_cellule(settings.state_dir)
    try:
        if is_claimed(db):
            remove_claim_code(settings)
            return None
        return write_claim_code(settings)
    finally:
        db.close()


def check_claim_code(db: Database, activity: Database, settings: Settings, code: str, address: str) -> None:
    """Raises AlreadyClaimed, TooManyAttempts or WrongClaimCode; returns when `code` is the box's own."""
    if is_claimed(db):
        raise AlreadyClaimed("This box already has an admin.", next_step="Sign in.")
    attempt = record_attempt(
        activity, _ATTEMPT_NAME, address, per_name=_OVER_ALL_ADDRESSES, per_address=_PER_ADDRESS
    )
    if not code_matches(settings, code):
        raise WrongClaimCode("This is not the claim code of this box.", param="code")
    forget_attempts(activity, attempt, _ATTEMPT_NAME)


def claim_box(
    db: Database,
    activity: Database,
    settings: Settings,
    *,
    code: str,
    name: str,
    password: str,
    language: str,
    address: str,
) -> Account:
    """Makes the first admin and removes the code.

    Raises AlreadyClaimed, WrongClaimCode, TooManyAttempts, AccountNameRefused, PasswordRefused.
    """
    check_claim_code(db, activity, settings, code, address)
    name = checked_name(name)
    password_hash = hash_password(password, name)
    with transaction(db):
        if is_claimed(db):
            raise AlreadyClaimed("This box already has an admin.", next_step="Sign in.")
        account = insert_account(db, name, password_hash, Role.ADMIN, language)
    remove_claim_code(settings)
    return account
