"""Who may ask the adopted server now: as many at once as it really answers, the others in their order.

What it would let wait in a queue of its own waits here, where it is seen and can be refused.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.engines.served import EngineBusy, check_choices


class Places:
    """`slots` at once; more than `waiting_limit` waiting are refused."""

    def __init__(self, slots: int, waiting_limit: int) -> None:
        self.slots = slots
        self.busy = 0
        self._waiting_limit = waiting_limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def resize(self, slots: int) -> None:
        self.slots = slots
        self._let_in()

    def check_room(self, wanted: int) -> None:
        """Raises EngineBusy where so many more would have to wait than may, TooManyChoices if ever."""
        check_choices(wanted, self.slots + self._waiting_limit)
        free = max(0, self.slots - self.busy)
        if wanted > free + self._waiting_limit - len(self._waiting):
            raise EngineBusy(
                f"{len(self._waiting)} requests already wait for this engine.", retry_after_seconds=2
            )

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Holds one place."""
        if self.busy < self.slots and not self._waiting:
            self.busy += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self.busy -= 1
            self._let_in()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in at the moment of leaving: the place goes on
                self.busy -= 1
                self._let_in()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _let_in(self) -> None:
        while self._waiting and self.busy < self.slots:
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
