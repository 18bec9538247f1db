"""The time, asked for in one place so that tests can travel in it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since the epoch (UTC), as `time.time` does."""

now: Clock = time.time
