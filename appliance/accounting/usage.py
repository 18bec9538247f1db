"""The last hour from the ledger: how much, how fast, how often it failed. Reads only."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from sqlite_utils import Database

WINDOW_MINUTES = 60

# a client that leaves or asks for the impossible is no fault of the box
FAULTS = ("failed", "interrupted")


@dataclass(frozen=True)
class Minute:
    """Sums over one minute; `latency_p95_seconds` is None when nothing was answered in it."""

    requests: int
    tokens_out: int
    faults: int
    latency_p95_seconds: float | None


@dataclass(frozen=True)
class UsageOverview:
    """Sums and percentiles over the last WINDOW_MINUTES. Percentiles are None when nothing was answered.

    Latency runs from the request's arrival to its last byte; the first token's time counts from arrival too.
    """

    requests: int
    answered: int
    refused: int
    cancelled: int
    faults: int
    tokens_in: int
    tokens_out: int
    latency_p50_seconds: float | None
    latency_p95_seconds: float | None
    first_token_p50_seconds: float | None
    first_token_p95_seconds: float | None
    queue_p95_seconds: float | None
    minutes: tuple[Minute, ...]
    """Oldest first; the last one is the minute that runs now."""
    ever_used: bool


class _Line(NamedTuple):
    minute: int
    """Since the epoch."""
    outcome: str
    tokens_in: int
    tokens_out: int
    queue_seconds: float
    first_token_seconds: float | None
    duration_seconds: float


def percentile(values: list[float], share: float) -> float | None:
    """The nearest-rank percentile (0 < share <= 1) of `values`, which may be in any order; None for none."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def usage_overview(activity: Database, now: float) -> UsageOverview:
    """What the ledger of `activity` says about the hour that ends at `now` (epoch seconds)."""
    last_minute = int(now // 60)
    since = (last_minute - WINDOW_MINUTES + 1) * 60
    rows = activity.execute(
        "SELECT CAST(at / 60 AS INTEGER), outcome, tokens_in, tokens_out, queue_seconds, first_token_seconds,"
        " duration_seconds FROM ledger WHERE at >= ? AND at <= ?",
        [since, now],
    ).fetchall()
    lines = [_Line(*row) for row in rows]
    answered = [line for line in lines if line.outcome == "answered"]
    durations = [line.duration_seconds for line in answered]
    first_tokens = [line.first_token_seconds for line in answered if line.first_token_seconds is not None]
    outcomes = [line.outcome for line in lines]
    minutes: list[list[_Line]] = [[] for _ in range(WINDOW_MINUTES)]
    for line in lines:
        minutes[line.minute - last_minute + WINDOW_MINUTES - 1].append(line)
    return UsageOverview(
        requests=len(lines),
        answered=len(answered),
        refused=outcomes.count("refused"),
        cancelled=outcomes.count("cancelled"),
        faults=sum(outcome in FAULTS for outcome in outcomes),
        tokens_in=sum(line.tokens_in for line in lines),
        tokens_out=sum(line.tokens_out for line in lines),
        latency_p50_seconds=percentile(durations, 0.5),
        latency_p95_seconds=percentile(durations, 0.95),
        first_token_p50_seconds=percentile(first_tokens, 0.5),
        first_token_p95_seconds=percentile(first_tokens, 0.95),
        queue_p95_seconds=percentile([line.queue_seconds for line in answered], 0.95),
        minutes=tuple(_minute(minute) for minute in minutes),
        ever_used=bool(lines) or activity.execute("SELECT 1 FROM ledger LIMIT 1").fetchone() is not None,
    )


def _minute(lines: list[_Line]) -> Minute:
    return Minute(
        requests=len(lines),
        tokens_out=sum(line.tokens_out for line in lines),
        faults=sum(line.outcome in FAULTS for line in lines),
        latency_p95_seconds=percentile(
            [line.duration_seconds for line in lines if line.outcome == "answered"], 0.95
        ),
    )
