"""An event loop in which waiting takes no time: its clock jumps to the next thing that is due.

Whatever is written for asyncio runs on it unchanged, timeouts included, as long as it only waits for other
coroutines and for time: there are no sockets, files or threads. A program that waits for something that never
comes is told so at once.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class NothingLeftToWaitFor(RuntimeError):
    """Everything waits, and nothing is due: a bug in what runs."""


def run_in_simulated_time(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs `main` to its end, starting at second 0 of `loop.time()`."""
    loop = _SimulatedLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


class _Jumping(selectors.DefaultSelector):
    """Asked to wait for events, it lets the time pass."""

    loop: "_SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftToWaitFor("Nothing is due in simulated time, and something still waits.")
        self.loop.pass_time(timeout)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._seconds = 0.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._seconds

    def pass_time(self, seconds: float) -> None:
        if seconds > 0:
            self._seconds += seconds
