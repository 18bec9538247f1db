"""Many sequences at once on a processor or GPU: what the computing process is told, and what it gives.

Each turn stops what was cancelled, adds what waits while a slot is free, and takes one step's tokens: one for
every sequence that generates, after a part of the prompts still to be read. GenAI keeps computed prefixes by
itself; how many tokens of a prompt it found again it does not tell.
"""

import asyncio
import itertools
import logging
import os
import threading
import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import NoReturn

from appliance.engines.endings import ENGINE_THREAD_DIED_STATUS
from appliance.engines.generation import FinishReason, Generation, GenerationRequest, Mailbox
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.computing import Computing
from appliance.engines.openvino.queue import QueuedRunner
from appliance.engines.openvino.steps import Add, Failed, Given, Stepped, Stop
from appliance.engines.openvino.vocabulary import TokenizerVocabulary
from appliance.engines.sampling_plan import TokenLogprobs

_log = logging.getLogger(__name__)


class BatchingRunner(QueuedRunner):
    """Over the process that computes, to which only the engine thread talks once it is started."""

    def __init__(
        self,
        computing: Computing,
        vocabulary: TokenizerVocabulary,
        metrics: EngineMetrics,
        *,
        slots: int,
        waiting: int,
        kv_tokens: int,
    ) -> None:
        super().__init__(vocabulary, metrics, slots, waiting)
        self._computing = computing
        self._connection = computing.connection
        self._ends = vocabulary.end_tokens, vocabulary.stop_token
        self._kv_tokens = kv_tokens
        self._running: dict[int, Generation] = {}
        self._numbers = itertools.count()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    @property
    def busy(self) -> int:
        return len(self._running)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        super().start(loop)
        threading.Thread(target=self._end_with_what_computes, daemon=True).start()

    def submit(self, requests: list[GenerationRequest], mailboxes: list[Mailbox]) -> list[Generation]:
        generations = super().submit(requests, mailboxes)
        self._wake()
        return generations

    def cancel(self, generation: Generation) -> None:
        super().cancel(generation)
        self._wake()

    def _wake(self) -> None:
        """The engine thread looks at once at what is wanted."""
        with suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._waker, b".")

    def _turn(self) -> None:
        self._stop_cancelled()
        self._place_waiting()
        if not self._running:
            self._stepped(0)
            return
        ready = wait([self._connection, self._woken])
        if self._woken in ready:
            os.read(self._woken, 4096)
        if self._connection in ready:
            self._take(self._step())

    def _step(self) -> Stepped:
        try:
            said: Stepped | Failed = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._end_with_what_computes()
        if isinstance(said, Failed):
            _end(said.why)
        return said

    def _end_with_what_computes(self) -> NoReturn:
        _end(f"OpenVINO computes no more: {self._computing.how_it_ended()}")

    def _stop_cancelled(self) -> None:
        for number in [number for number, one in self._running.items() if one.cancelled]:
            self._leave(number)

    def _place_waiting(self) -> None:
        while len(self._running) < self.slots:
            generation = self._next_waiting()
            if generation is None:
                return
            number = next(self._numbers)
            self._running[number] = generation
            self._connection.send(Add(number, generation.request, *self._ends))

    def _take(self, stepped: Stepped) -> None:
        """Hands out what the step gave; a prompt counts with its first token."""
        took, tokens = time.perf_counter(), 0
        for given in stepped.given:
            generation = self._running.get(given.number)
            if generation is None:
                continue  # it was stopped while the step ran
            first = not generation.generated
            tokens += len(given.tokens) + first * len(generation.request.prompt)
            self._take_tokens(generation, given)
            if generation.finish is None and given.is_over:
                # it ended without a token that says so: there was no room left for it
                self._hand_out(generation, generation.end(FinishReason.LENGTH))
            if given.is_over:
                del self._running[given.number]
            elif generation.finish:
                self._leave(given.number)
        # what was stopped just now is still counted in the step, and none may follow that says otherwise
        self._stepped(int(stepped.cache_usage * self._kv_tokens) if self._running else 0)
        self._measure(tokens, stepped.seconds, time.perf_counter() - took)

    def _take_tokens(self, generation: Generation, given: Given) -> None:
        wants_logprobs = generation.request.top_logprobs is not None
        logprobs = given.logprobs if wants_logprobs else ()
        for token, logprob in itertools.zip_longest(given.tokens, logprobs):
            if generation.finish:
                return
            if generation.ends_with(token):
                self._hand_out(generation, generation.end(FinishReason.STOP))
                return
            told = TokenLogprobs(token, logprob, ()) if wants_logprobs else None
            self._hand_out(generation, generation.add(token, told))

    def _leave(self, number: int) -> None:
        del self._running[number]
        self._connection.send(Stop(number))


def _end(why: str) -> NoReturn:
    """Who tends to this process starts it and the one that computes anew."""
    _log.critical("%s", why)
    logging.shutdown()
    os._exit(ENGINE_THREAD_DIED_STATUS)
