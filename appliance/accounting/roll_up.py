"""The ledger's sums per hour: small enough to be kept for years and read in an instant.

An hour is summed anew from its ledger lines as long as lines may still arrive for it (the pool writes in
batches), so that repeating the roll-up changes nothing. An older hour is never touched again: its lines
may have been deleted since.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from appliance.clock import now as clock_now
from appliance.storage import transaction

HOUR_SECONDS = 3600
# a line is written within seconds of its request's end, but a request may run long before
_OPEN_HOURS = 3

_SUM_UP = """
INSERT INTO ledger_hours
SELECT CAST(at / 3600 AS INTEGER) AS hour, COALESCE(key_id, ''), COALESCE(account_id, ''),
       COALESCE(model, ''), COALESCE(node, ''), outcome,
       COUNT(*), SUM(tokens_in), SUM(tokens_out), SUM(duration_seconds)
FROM ledger WHERE at >= ? GROUP BY 1, 2, 3, 4, 5, 6
"""


@dataclass(frozen=True)
class UsageOfDays:
    """Sums over some days, the running hour included."""

    requests: int
    tokens_in: int
    tokens_out: int


def roll_up_ledger(activity: Database, now: float | None = None) -> int:
    """Brings ledger_hours up to date; returns how many ledger lines were summed."""
    now = clock_now() if now is None else now
    with transaction(activity):
        last = activity.execute("SELECT MAX(hour) FROM ledger_hours").fetchone()[0]
        # after a long stop the gap is made up: nothing was summed since `last`
        first_open = 0 if last is None else min(int(last) + 1, _hour(now)) - _OPEN_HOURS
        since = first_open * HOUR_SECONDS
        activity.execute("DELETE FROM ledger_hours WHERE hour >= ?", [first_open])
        activity.execute(_SUM_UP, [since])
        return int(activity.execute("SELECT COUNT(*) FROM ledger WHERE at >= ?", [since]).fetchone()[0])


def usage_of_days(activity: Database, days: int, now: float) -> UsageOfDays:
    """What was asked and answered in the last `days` days, up to the last roll-up."""
    row = activity.execute(
        "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(tokens_in), 0), COALESCE(SUM(tokens_out), 0)"
        " FROM ledger_hours WHERE hour >= ?",
        [_hour(now) - days * 24],
    ).fetchone()
    return UsageOfDays(*row)


def key_last_uses(activity: Database, now: float) -> dict[str, float]:
    """Key id → when it was last used (epoch seconds): exact for the last hours, else to the hour."""
    rolled = activity.execute(
        "SELECT key_id, MAX(hour) * 3600.0 FROM ledger_hours WHERE key_id != '' GROUP BY key_id"
    )
    uses: dict[str, float] = dict(rolled.fetchall())
    exact = activity.execute(
        "SELECT key_id, MAX(at) FROM ledger WHERE at >= ? AND key_id IS NOT NULL GROUP BY key_id",
        [(_hour(now) - _OPEN_HOURS) * HOUR_SECONDS],
    )
    return uses | dict(exact.fetchall())


def _hour(at: float) -> int:
    return int(at // HOUR_SECONDS)
