"""One pipeline that computes one request at a time, and the bounded line before it.

OpenVINO's pipelines and a llama.cpp context of its own are no batchers: what they are given they compute to
its end. So requests take turns, first come, first served (the pool, which knows the callers, is fair between
them). Who leaves while waiting gives up the place; who leaves while it computes is noticed at the next step
that the pipeline shows.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.served import EngineBusy

Made = TypeVar("Made")


class Turn:
    """A request's time at the pipeline, as the working thread sees it."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self._left = threading.Event()

    def leave(self) -> None:
        self._left.set()

    @property
    def left(self) -> bool:
        """Whether the client has gone. Asking shows that the work moves: ask between any two steps."""
        self.moved_at = time.monotonic()
        return self._left.is_set()

    def check(self) -> None:
        """Raises ClientLeft when nobody waits for the work any more."""
        if self.left:
            raise ClientLeft


class Turns:
    """`waiting_limit` requests may wait; one more is refused."""

    def __init__(self, waiting_limit: int) -> None:
        self._waiting_limit = waiting_limit
        self._line: deque[asyncio.Future[None]] = deque()
        self._running: Turn | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipeline")

    @property
    def busy(self) -> int:
        return int(self._running is not None)

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def seconds_without_step(self) -> float:
        """Since the running work last moved; 0 when nothing runs."""
        running = self._running
        return time.monotonic() - running.moved_at if running else 0.0

    async def take(self, exchange: Exchange, work: Callable[[Turn], Made]) -> Made:
        """What `work` makes, in the pipeline's thread, after its turn came; the body was read before.

        Raises EngineBusy, ClientLeft and what `work` raises.
        """
        if self._running and len(self._line) >= self._waiting_limit:
            raise EngineBusy(
                f"{len(self._line)} requests are waiting for this model.",
                retry_after_seconds=5,
                next_step="Repeat the request later.",
            )
        turn = Turn()
        doing = asyncio.ensure_future(self._in_turn(turn, work))
        leaving = asyncio.ensure_future(exchange.left())
        try:
            await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ClientLeft
            return doing.result()
        finally:
            turn.leave()
            if self._running is not turn:
                doing.cancel()
            for task in (doing, leaving):
                if task is leaving:
                    task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def alone(self, work: Callable[[Turn], Made]) -> Made:
        """What `work` makes, for the engine's own first answer."""
        return await self._in_turn(Turn(), work)

    async def _in_turn(self, turn: Turn, work: Callable[[Turn], Made]) -> Made:
        if self._running:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # the turn came in the very moment of leaving
                    self._next()
                else:
                    self._line.remove(place)
                raise
        turn.moved_at = time.monotonic()
        self._running = turn
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, turn)
        finally:
            self._next()

    def _next(self) -> None:
        self._running = None
        while self._line:
            place = self._line.popleft()
            if not place.done():
                self._running = Turn()  # nobody may slip in before the one whose turn it is
                place.set_result(None)
                return
