"""Ledger lines for tests, with the values that most tests don't care about."""

import itertools

from sqlite_utils import Database

_numbers = itertools.count()


def add_line(
    activity: Database,
    at: float,
    *,
    outcome: str = "answered",
    key_id: str | None = "k1",
    node: str | None = "box",
    tokens_in: int = 10,
    tokens_out: int = 20,
    queue_seconds: float = 0.0,
    first_token_seconds: float | None = 0.1,
    duration_seconds: float = 1.0,
) -> None:
    """One answered request, as the pool writes it."""
    activity.execute(
        "INSERT INTO ledger (at, request_id, key_id, account_id, endpoint, model, node, attempts, tokens_in,"
        " tokens_out, queue_seconds, first_token_seconds, duration_seconds, outcome, status)"
        " VALUES (?, ?, ?, 'a1', 'chat', 'cellule-demo', ?, 1, ?, ?, ?, ?, ?, ?, 200)",
        [
            at,
            f"request-{next(_numbers)}",
            key_id,
            node,
            tokens_in,
            tokens_out,
            queue_seconds,
            first_token_seconds,
            duration_seconds,
            outcome,
        ],
    )
