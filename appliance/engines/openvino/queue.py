"""The thread that computes with OpenVINO: who runs, who waits, and what goes back to the event loop.

How a turn is computed is the subclass's; here is what both ways have in common. The asking side may cancel at
any moment: who runs is stopped before the next step, who waits is counted no more at once.
"""

import asyncio
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque

from appliance.engines.generation import Generation, GenerationRequest, Mailbox, Output
from appliance.engines.metrics import EngineMetrics
from appliance.engines.served import EngineBusy, check_choices
from appliance.engines.text import TextStream
from appliance.engines.vocabulary import Vocabulary

_log = logging.getLogger(__name__)
_SPEED_WEIGHT = 0.1


class QueuedRunner(ABC):
    """A `Runner` with `slots` at once and at most `waiting_limit` behind them."""

    def __init__(
        self, vocabulary: Vocabulary, metrics: EngineMetrics, slots: int, waiting_limit: int
    ) -> None:
        self.slots = slots
        self._vocabulary = vocabulary
        self._metrics = metrics
        self._waiting_limit = waiting_limit
        self._work = threading.Condition()
        self._waiting: deque[Generation] = deque()
        self._outbox: list[tuple[Mailbox, Output]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_step_at = time.monotonic()
        self._tokens_per_second = 0.0

    # --- the asking side ---------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        threading.Thread(target=self._run_or_die, name="engine", daemon=True).start()

    def submit(self, requests: list[GenerationRequest], mailboxes: list[Mailbox]) -> list[Generation]:
        """All of them wait for a slot, or none. Raises EngineBusy, TooManyChoices."""
        check_choices(len(requests), self._waiting_limit + self.slots)
        waiting = self.waiting
        if waiting + len(requests) > self._waiting_limit + max(0, self.slots - self.busy):
            raise EngineBusy(f"{waiting} requests already wait for this engine.", retry_after_seconds=2.0)
        generations = [
            Generation(request, mailbox, self._vocabulary, TextStream(request.stop))
            for request, mailbox in zip(requests, mailboxes, strict=True)
        ]
        with self._work:
            if not self._waiting and not self.busy:
                self._last_step_at = time.monotonic()
            self._waiting.extend(generations)
            self._work.notify()
        return generations

    def cancel(self, generation: Generation) -> None:
        """Its slot is free before the next step. No effect once it has finished."""
        generation.cancelled = True

    @property
    @abstractmethod
    def busy(self) -> int:
        """Sequences that run."""

    @property
    def waiting(self) -> int:
        with self._work:
            return sum(not one.cancelled for one in self._waiting)

    @property
    def tokens_per_second(self) -> float:
        """Of late, prompt and generated tokens together."""
        return self._tokens_per_second

    def seconds_without_step(self) -> float:
        """0 while there is nothing to do."""
        idle = not self._waiting and not self.busy
        return 0.0 if idle else time.monotonic() - self._last_step_at

    # --- the engine thread -------------------------------------------------------------------------

    @abstractmethod
    def _turn(self) -> None:
        """Takes in who waits, as far as there is room, and computes."""

    def _run_or_die(self) -> None:
        """A dead engine thread must not leave a process that looks alive: the supervisor starts a new one."""
        try:
            while True:
                with self._work:
                    self._work.wait_for(lambda: bool(self._waiting or self.busy))
                self._turn()
        except BaseException:
            _log.critical("the engine thread died", exc_info=True)
            logging.shutdown()
            os._exit(70)

    def _next_waiting(self) -> Generation | None:
        """Takes the first that still wants an answer out of the queue; the caller must count it as busy."""
        with self._work:
            while self._waiting:
                generation = self._waiting.popleft()
                if not generation.cancelled:
                    return generation
        return None

    def _hand_out(self, generation: Generation, output: Output | None) -> None:
        if output:
            self._outbox.append((generation.mailbox, output))

    def _stepped(self, kv_tokens: int) -> None:
        """At the end of a step: counts it, and wakes the asking side once for all that it gave."""
        self._last_step_at = time.monotonic()
        self._metrics.occupancy(self.busy, self.waiting, kv_tokens)
        if self._outbox and self._loop:
            outbox, self._outbox = self._outbox, []
            self._loop.call_soon_threadsafe(_hand_over, outbox)

    def _measure(self, tokens: int, seconds: float, other_seconds: float) -> None:
        """A step that computed `tokens`, prompt and generated, in `seconds`."""
        if tokens and seconds > 0:
            speed = tokens / seconds
            known = self._tokens_per_second or speed
            self._tokens_per_second = known + _SPEED_WEIGHT * (speed - known)
        self._metrics.step(decode_seconds=seconds, other_seconds=other_seconds)


def _hand_over(outbox: list[tuple[Mailbox, Output]]) -> None:
    for mailbox, output in outbox:
        mailbox(output)
