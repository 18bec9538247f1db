"""The overview's figures say what the ledger says."""

import random
import time

import pytest
from sqlite_utils import Database

from appliance.accounting import usage_overview
from appliance.accounting.usage import percentile
from appliance.storage import transaction
from tests.accounting.ledger import add_line

NOW = 1_800_000_030.0


def test_an_empty_ledger_has_no_percentiles(activity: Database) -> None:
    usage = usage_overview(activity, NOW)
    assert (usage.requests, usage.latency_p50_seconds, usage.first_token_p95_seconds) == (0, None, None)
    assert not usage.ever_used
    assert len(usage.minutes) == 60


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.5, 3.0),
        ([3.0], 0.95, 3.0),
        ([4.0, 1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(number) for number in range(100, 0, -1)], 0.95, 95.0),
        ([float(number) for number in range(1, 21)], 0.95, 19.0),
    ],
)
def test_percentiles_are_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_counts_outcomes_apart_and_only_the_last_hour(activity: Database) -> None:
    for outcome, times in {
        "answered": 20,
        "cancelled": 3,
        "refused": 2,
        "failed": 1,
        "interrupted": 1,
    }.items():
        for _ in range(times):
            add_line(activity, NOW - 100, outcome=outcome)
    add_line(activity, NOW - 3601, outcome="failed")
    usage = usage_overview(activity, NOW)
    assert (usage.requests, usage.answered, usage.cancelled, usage.refused, usage.faults) == (27, 20, 3, 2, 2)
    assert (usage.tokens_in, usage.tokens_out) == (270, 540)


def test_latency_is_of_answered_requests(activity: Database) -> None:
    for number in range(1, 101):
        add_line(activity, NOW - 1, duration_seconds=float(number), first_token_seconds=number / 10)
    add_line(activity, NOW - 1, outcome="failed", duration_seconds=9999.0, first_token_seconds=None)
    usage = usage_overview(activity, NOW)
    assert (usage.latency_p50_seconds, usage.latency_p95_seconds) == (50, 95)
    assert (usage.first_token_p50_seconds, usage.first_token_p95_seconds) == (5, 9.5)


def test_minutes_end_with_the_one_that_runs(activity: Database) -> None:
    add_line(activity, NOW, tokens_out=7)
    add_line(activity, NOW - 30, tokens_out=8)
    add_line(activity, NOW - 31, outcome="failed")
    add_line(activity, NOW - 59 * 60)
    minutes = usage_overview(activity, NOW).minutes
    assert (minutes[-1].requests, minutes[-1].tokens_out) == (2, 15)
    assert (minutes[-2].requests, minutes[-2].faults, minutes[-2].latency_p95_seconds) == (1, 1, None)
    assert minutes[0].requests == 1
    assert sum(minute.requests for minute in minutes) == 4


def test_a_busy_hour_is_read_fast_enough_to_poll(activity: Database) -> None:
    draw = random.Random(1)
    with transaction(activity):
        for _ in range(20_000):
            add_line(activity, NOW - draw.random() * 3500, duration_seconds=draw.random() * 9)
    begin = time.process_time()
    assert usage_overview(activity, NOW).requests == 20_000
    assert time.process_time() - begin < 0.5
