"""Hourly sums equal the ledger, however often and late they are made, and outlive it."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from appliance.accounting import key_last_uses, roll_up_ledger, usage_of_days
from tests.accounting.ledger import add_line

HOUR = 3600
NOW = 500_000 * HOUR + 1800.0


def sums(activity: Database, table: str) -> list[tuple[object, ...]]:
    requests = "COUNT(*)" if table == "ledger" else "SUM(requests)"
    hour = "CAST(at / 3600 AS INTEGER)" if table == "ledger" else "hour"
    return list(
        activity.execute(
            f"SELECT {hour}, COALESCE(key_id, ''), outcome, {requests}, SUM(tokens_in), SUM(tokens_out),"
            f" ROUND(SUM(duration_seconds), 6) FROM {table} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(min_value=0, max_value=9), max_size=8), st.randoms(use_true_random=False))
def test_sums_equal_the_ledger_after_any_course(
    activity: Database, waits: list[float], draw: random.Random
) -> None:
    """Lines come in between roll-ups, up to an hour late; after a long stop the gap is made up."""
    for table in ("ledger", "ledger_hours"):
        activity.execute(f"DELETE FROM {table}")
    at = NOW
    for wait in waits:
        at += wait * HOUR
        for _ in range(draw.randint(0, 5)):
            add_line(
                activity,
                at - draw.random() * HOUR,
                key_id=draw.choice([None, "k1", "k2"]),
                outcome=draw.choice(["answered", "failed"]),
                tokens_out=draw.randint(0, 99),
            )
        roll_up_ledger(activity, at)
    assert sums(activity, "ledger_hours") == sums(activity, "ledger")


def test_hours_outlive_their_lines(activity: Database) -> None:
    add_line(activity, NOW - 10 * HOUR)
    roll_up_ledger(activity, NOW - 9 * HOUR)
    add_line(activity, NOW)
    roll_up_ledger(activity, NOW)
    activity.execute("DELETE FROM ledger WHERE at < ?", [NOW - 8 * HOUR])
    assert roll_up_ledger(activity, NOW) == 1
    assert usage_of_days(activity, 1, NOW).requests == 2


def test_a_clock_set_back_loses_nothing(activity: Database) -> None:
    add_line(activity, NOW)
    roll_up_ledger(activity, NOW)
    add_line(activity, NOW - 2 * HOUR)
    roll_up_ledger(activity, NOW - 2 * HOUR)
    assert usage_of_days(activity, 1, NOW).requests == 2


def test_days_are_counted_back_from_now(activity: Database) -> None:
    for days in (0, 1, 29, 31):
        add_line(activity, NOW - days * 24 * HOUR, tokens_in=3, tokens_out=5)
    assert roll_up_ledger(activity, NOW) == 4
    month = usage_of_days(activity, 30, NOW)
    assert (month.requests, month.tokens_in, month.tokens_out) == (3, 9, 15)


def test_last_use_is_exact_when_recent_and_to_the_hour_before(activity: Database) -> None:
    add_line(activity, NOW - 100 * HOUR + 60, key_id="old")
    add_line(activity, NOW - 5, key_id="new")
    add_line(activity, NOW - 50, key_id="new")
    add_line(activity, NOW - 5, key_id=None)
    roll_up_ledger(activity, NOW)
    assert key_last_uses(activity, NOW) == {"new": NOW - 5, "old": (NOW - 100 * HOUR) // HOUR * HOUR}
