"""The time, asked for in one place so that tests can travel in it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since the epoch (UTC), as `time.time` does."""

now: Clock = time.time


def age_seconds(since: float, at: float) -> float:
    """How long before `at` something was noted.

    What lies ahead was noted before the clock was set back: it is as old as it is far ahead. Else whatever
    waits for a time to pass would wait until the date that a wrong clock once showed.
    """
    return abs(at - since)
