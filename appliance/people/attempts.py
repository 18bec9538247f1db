"""How often somebody may try a password or the claim code: counted before the try, per name and per address.

After `free_failures` within the window each further failure doubles the wait, up to `longest_wait_seconds`.
The try is recorded before the password is looked at, in one transaction, so that many tries at the same
moment can't all pass; success removes the record. A try that had to wait is not recorded: knocking
does not lengthen the wait.
"""

from dataclasses import dataclass
from typing import ClassVar

from sqlite_utils import Database

from appliance.clock import now
from appliance.errors import TryAgain
from appliance.storage import transaction

WINDOW_SECONDS = 15 * 60.0


@dataclass(frozen=True)
class Patience:
    """How many failures are free and how long the wait can get."""

    free_failures: int
    first_wait_seconds: float = 5.0
    longest_wait_seconds: float = 300.0


PER_NAME = Patience(free_failures=5)
# one address may stand for a whole office behind a proxy
PER_ADDRESS = Patience(free_failures=20)


class TooManyAttempts(TryAgain):
    """Too many wrong passwords or codes; wait."""

    code: ClassVar[str] = "too_many_attempts"


def wait_seconds(failures: int, last_failure_at: float, patience: Patience, at: float) -> float:
    """Seconds until the next try is allowed; 0 when it is now."""
    excess = failures - patience.free_failures
    if excess < 0:
        return 0.0
    wait = min(patience.first_wait_seconds * 2.0 ** min(excess, 30), patience.longest_wait_seconds)
    return max(0.0, last_failure_at + wait - at)


def record_attempt(
    activity: Database,
    name: str,
    address: str,
    *,
    per_name: Patience = PER_NAME,
    per_address: Patience = PER_ADDRESS,
) -> int:
    """Counts a try and returns its id for `forget_attempts`. Raises TooManyAttempts without counting it."""
    at = now()
    with transaction(activity):
        wait = max(
            _wait(activity, "name", name, per_name, at),
            _wait(activity, "address", address, per_address, at),
        )
        if wait > 0:
            raise TooManyAttempts(
                "Too many wrong attempts.", retry_after_seconds=wait, next_step="Wait, then try again."
            )
        cursor = activity.execute(
            "INSERT INTO sign_in_attempts (at, name, address) VALUES (?, ?, ?)", [at, name, address]
        )
        return int(cursor.lastrowid or 0)


def forget_attempts(activity: Database, attempt_id: int, name: str) -> None:
    """After success: the name's failures are forgiven; the address keeps those for other names."""
    with transaction(activity):
        activity.execute("DELETE FROM sign_in_attempts WHERE id = ? OR name = ?", [attempt_id, name])


def forget_old_sign_in_attempts(activity: Database) -> None:
    """Drops what no longer counts."""
    with transaction(activity):
        activity.execute("DELETE FROM sign_in_attempts WHERE at <= ?", [now() - WINDOW_SECONDS])


def _wait(activity: Database, column: str, value: str, patience: Patience, at: float) -> float:
    failures, last = activity.execute(
        f"SELECT COUNT(*), COALESCE(MAX(at), 0) FROM sign_in_attempts WHERE {column} = ? AND at > ?",  # noqa: S608 our own column
        [value, at - WINDOW_SECONDS],
    ).fetchone()
    return wait_seconds(failures, last, patience, at)
