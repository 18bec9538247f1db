"""Waiting on a condition with a limit, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    condition: Callable[[], Value | None], *, within_seconds: float, what: str, every_seconds: float = 0.02
) -> Value:
    """The first truthy value of `condition`. Raises AssertionError naming `what` when the limit passes.

    An OSError or AssertionError of the condition counts as "not yet", and is told when time is up.
    """
    deadline = time.monotonic() + within_seconds
    last: Exception | None = None
    while True:
        try:
            value = condition()
        except (OSError, AssertionError) as error:
            value, last = None, error
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s: {what}") from last
        time.sleep(every_seconds)
