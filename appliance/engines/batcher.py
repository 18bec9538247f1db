"""The engine thread: every running sequence gets its next token in the same step of the model.

Each step first takes out what was cancelled and places what waits, then fills one batch: the next token
of every sequence that is generating, and an equal share of what is left for every prompt still to be
computed. The asking side (an event loop) is woken once a step. No request is lost to lack of room:
prefixes kept for later go first, then the youngest sequence goes back to wait with all its tokens.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from appliance.engines.decode_batch import DecodeBatch
from appliance.engines.generation import Generation, GenerationRequest, Mailbox, Output
from appliance.engines.llama import Pointer, llama
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.placement import (
    Place,
    Placement,
    choose_placement,
    places_to_store,
    share_prefill,
    tokens_per_step,
)
from appliance.engines.prefix_store import PrefixStore, StoredPrefix
from appliance.engines.sequence import Sequence
from appliance.engines.served import EngineBusy, check_choices
from appliance.errors import Broken

_log = logging.getLogger(__name__)
_NO_ROOM = 1  # llama_decode: no place in the KV cache, nothing was changed
STEP_SECONDS_WHILE_ANSWERING = 0.75
STEP_SECONDS = 1.0
LEAST_STEP_TOKENS = 64


class DecodeFailed(Broken):
    code: ClassVar[str] = "decode_failed"


@dataclass(frozen=True)
class BatcherLimits:
    """Sizes that are fixed for the life of the process."""

    slots: int
    context_tokens: int
    """Of one sequence, prompt and answer together."""
    kv_tokens: int
    """Of all sequences together, kept prefixes included."""
    threads: int
    waiting: int
    """More than this many waiting sequences are refused with EngineBusy."""
    prefix_bytes: int = 256 * 1024 * 1024
    """Memory for prefixes kept beside the KV cache."""
    batch_tokens: int = 512

    @property
    def shares_cache(self) -> bool:
        """Whether all sequences share the cells of one cache, because a full one for each is not granted.

        Attention then passes by the cells of all others, which costs more the more of them there are.
        """
        return self.kv_tokens < self.slots * self.context_tokens


class Batcher:
    """Submit generations from an event loop; `start` comes first. Only the engine thread touches llama."""

    def __init__(self, model: Model, limits: BatcherLimits, metrics: EngineMetrics) -> None:
        self.limits = limits
        self._model = model
        self._metrics = metrics
        self._batch = DecodeBatch(limits.batch_tokens)
        self._places = [Place(number) for number in range(limits.slots)]
        self._context = _open_context(model, limits)
        self._memory = llama.llama_get_memory(self._context)
        self._prefixes = PrefixStore(self._context, limits.prefix_bytes)
        self._idle_limit_tokens = _idle_limit_tokens(model) if limits.shares_cache else 0
        self._work = threading.Condition()
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._outbox: list[tuple[Mailbox, Output]] = []
        self._crowded = False
        """A sequence went back for lack of room: nobody is placed until a running one ends."""
        self._steps = 0
        self._last_step_at = time.monotonic()
        self._tokens_per_second = 100.0
        self._prefill_tokens_per_second = 1000.0
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- the asking side ---------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        threading.Thread(target=self._run_or_die, name="engine", daemon=True).start()

    def submit(self, requests: list[GenerationRequest], mailboxes: list[Mailbox]) -> list[Sequence]:
        """All of them wait for a slot, or none. Raises EngineBusy, TooManyChoices, GrammarNotUsable."""
        check_choices(len(requests), self.limits.waiting + self.limits.slots)
        if len(self._waiting) + len(requests) > self.limits.waiting + self._free_slots():
            raise EngineBusy(
                f"{len(self._waiting)} requests already wait for this engine.", retry_after_seconds=2.0
            )
        generations = [
            Sequence.start(self._model, request, mailbox)
            for request, mailbox in zip(requests, mailboxes, strict=True)
        ]
        with self._work:
            if not self._waiting and not self._running:
                self._last_step_at = time.monotonic()
            self._waiting.extend(generations)
            self._work.notify()
        return generations

    def cancel(self, generation: Generation) -> None:
        """Its slot is free before the next step. No effect once it has finished."""
        generation.cancelled = True

    @property
    def busy(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def tokens_per_second(self) -> float:
        """Of late, prompt and generated tokens together."""
        return self._tokens_per_second

    def seconds_without_step(self) -> float:
        """0 while there is nothing to do."""
        idle = not self._waiting and not self._running
        return 0.0 if idle else time.monotonic() - self._last_step_at

    def _free_slots(self) -> int:
        return max(0, self.limits.slots - len(self._running))

    # --- the engine thread -------------------------------------------------------------------------

    def _run_or_die(self) -> None:
        """A dead engine thread must not leave a process that looks alive: the supervisor starts a new one."""
        try:
            while True:
                with self._work:
                    self._work.wait_for(lambda: bool(self._waiting or self._running))
                self._step()
        except BaseException:
            _log.critical("the engine thread died", exc_info=True)
            logging.shutdown()
            os._exit(70)

    def _step(self) -> None:
        started = time.perf_counter()
        self._drop_cancelled()
        self._place_waiting()
        batched = self._fill_batch()
        if batched:
            filled = time.perf_counter()
            result = llama.llama_decode(self._context, self._batch.batch)
            if result == _NO_ROOM:
                self._make_room()
            elif result != 0:
                raise DecodeFailed(f"llama_decode failed with {result}.")
            else:
                llama.llama_synchronize(self._context)
                decoded = time.perf_counter()
                self._after_decode(batched)
                self._measure(started, filled, decoded)
        self._steps += 1
        self._last_step_at = time.monotonic()
        self._metrics.occupancy(len(self._running), len(self._waiting), self._kv_tokens_used())
        self._deliver()

    def _drop_cancelled(self) -> None:
        for generation in [one for one in self._running if one.cancelled]:
            self._release(generation)
        if any(one.cancelled for one in self._waiting):
            with self._work:
                kept = [one for one in self._waiting if not one.cancelled]
                for gone in set(self._waiting) - set(kept):
                    gone.sampler.close()
                self._waiting = deque(kept)

    def _place_waiting(self) -> None:
        self._crowded = self._crowded and bool(self._running)
        for generation in list(self._waiting):
            if len(self._running) >= self.limits.slots or self._crowded:
                return
            placement = choose_placement(generation.tokens, self._places, self._prefixes.prefixes)
            if placement is None:
                continue
            place, reused = placement.place, self._copied(placement)
            del place.tokens[reused:]
            place.prompt = generation.tokens.copy()
            generation.place, generation.computed = place, reused
            if not generation.generated:
                generation.reused = reused
            self._metrics.reused_tokens.inc(reused)
            with self._work:
                self._waiting.remove(generation)
                self._running.append(generation)

    def _copied(self, placement: Placement) -> int:
        """Brings what is reused into the place; how many tokens of it that are, fewer where it failed."""
        place, source, reused = placement.place, placement.source, placement.reused
        if source is not place:
            self._store(place)
            if isinstance(source, StoredPrefix):
                reused = reused if self._prefixes.restore(source, place.sequence_id) else 0
            elif source and not self.limits.shares_cache:
                reused = reused if self._prefixes.copy(source.sequence_id, place.sequence_id) else 0
            elif source:
                llama.llama_memory_seq_cp(self._memory, source.sequence_id, place.sequence_id, 0, reused)
            place.tokens = source.tokens[:reused] if source else []
        if not llama.llama_memory_seq_rm(self._memory, place.sequence_id, reused, -1):
            # a memory that can't forget its end (recurrent layers) starts anew
            llama.llama_memory_seq_rm(self._memory, place.sequence_id, -1, -1)
            reused = 0
        return reused

    def _store(self, place: Place) -> None:
        """Empties a place; what it holds is kept beside the cache."""
        if place.tokens:
            self._prefixes.drop_continued(place.tokens)
            self._prefixes.put(place)
        self._forget(place)

    def _close_gaps(self) -> None:
        """Moves the last sequences into free places below, where each place has a cache of its own.

        llama.cpp computes only neighbouring places in one pass; a copy costs less than a pass.
        """
        self._running.sort(key=lambda one: one.place.sequence_id if one.place else -1)
        for number, place in enumerate(self._places[: len(self._running)]):
            if place.prompt is None:
                last = self._running.pop()
                source = last.place
                assert source
                self._store(place)
                if not self._prefixes.copy(source.sequence_id, place.sequence_id):
                    raise DecodeFailed("A sequence could not be moved.")
                place.tokens, place.prompt = source.tokens.copy(), source.prompt
                source.prompt, last.place = None, place
                self._forget(source)
                self._running.insert(number, last)

    def _fill_batch(self) -> list[tuple[Sequence, int, int | None]]:
        """Who computes how many tokens, and the output row where that leads to a choice."""
        if not self.limits.shares_cache:
            self._close_gaps()
        self._batch.clear()
        batched: list[tuple[Sequence, int, int | None]] = []
        prefilling = []
        for generation in self._running:
            if generation.remaining > 1 or not generation.generated:
                prefilling.append(generation)
            else:
                batched.append((generation, 1, self._add(generation, 1)))
        seconds = STEP_SECONDS_WHILE_ANSWERING if batched else STEP_SECONDS
        most = self._batch.capacity - self._batch.tokens
        speed = self._prefill_tokens_per_second
        budget = tokens_per_step(speed, seconds, least=min(LEAST_STEP_TOKENS, most), most=most)
        shares = share_prefill([one.remaining for one in prefilling], budget)
        for generation, share in zip(prefilling, shares, strict=True):
            if share:
                batched.append((generation, share, self._add(generation, share)))
        return batched

    def _add(self, generation: Sequence, count: int) -> int | None:
        assert generation.place
        start = generation.computed
        ends = start + count == len(generation.tokens)
        run = generation.tokens[start : start + count]
        row = self._batch.add(generation.place.sequence_id, run, start, wants_logits=ends)
        return row if ends else None

    def _after_decode(self, batched: list[tuple[Sequence, int, int | None]]) -> None:
        rows = self._batch.outputs
        logits = np.empty((0, 0), np.float32)
        greedy = np.empty(0, np.int64)
        if rows:
            pointer = llama.llama_get_logits(self._context)
            logits = np.ctypeslib.as_array(pointer, (rows, self._model.vocabulary_size))
            if sum(one.sampler.is_plain_greedy for one, _, row in batched if row is not None) > 1:
                greedy = logits.argmax(axis=1)
        for generation, count, row in batched:
            assert generation.place
            start = generation.computed
            generation.computed += count
            generation.place.tokens.extend(generation.tokens[start : generation.computed])
            if row is None:
                continue
            if generation.sampler.is_plain_greedy and greedy.size:
                output = generation.take(int(greedy[row]), logits[row])
            else:
                output = generation.choose_next(logits[row])
            if output:
                self._outbox.append((generation.mailbox, output))
            if generation.finish:
                self._release(generation)
        for place in places_to_store(self._places, self._idle_limit_tokens):
            self._store(place)

    def _release(self, generation: Sequence) -> None:
        place = generation.place
        assert place
        place.prompt, place.released_at_step = None, self._steps + 1
        generation.place = None
        generation.sampler.close()
        self._crowded = False
        with self._work:
            self._running.remove(generation)

    def _make_room(self) -> None:
        kept = [place for place in self._places if place.prompt is None and place.tokens]
        if kept:
            self._store(min(kept, key=lambda place: place.released_at_step))
            return
        if len(self._running) < 2:
            raise DecodeFailed("One sequence alone does not fit into the KV cache.")
        youngest = self._running[-1]
        assert youngest.place
        youngest.place.prompt = None
        self._forget(youngest.place)
        youngest.place, youngest.computed = None, 0
        self._crowded = True
        self._metrics.preempted.inc()
        with self._work:
            self._running.remove(youngest)
            self._waiting.appendleft(youngest)

    def _forget(self, place: Place) -> None:
        llama.llama_memory_seq_rm(self._memory, place.sequence_id, -1, -1)
        place.tokens.clear()

    def _kv_tokens_used(self) -> int:
        return sum(len(place.tokens) for place in (*self._places, *self._prefixes.prefixes))

    def _measure(self, started: float, filled: float, decoded: float) -> None:
        ended = time.perf_counter()
        speed = self._batch.tokens / (decoded - filled)
        self._tokens_per_second += 0.2 * (speed - self._tokens_per_second)
        if self._batch.tokens >= LEAST_STEP_TOKENS:  # fewer tokens a step cost more each
            self._prefill_tokens_per_second += 0.5 * (speed - self._prefill_tokens_per_second)
        self._metrics.step(
            decode_seconds=decoded - filled, other_seconds=ended - started - (decoded - filled)
        )

    def _deliver(self) -> None:
        if self._outbox and self._loop:
            outbox, self._outbox = self._outbox, []
            self._loop.call_soon_threadsafe(_hand_over, outbox)


def _hand_over(outbox: list[tuple[Mailbox, Output]]) -> None:
    for mailbox, output in outbox:
        mailbox(output)


def _idle_limit_tokens(model: Model) -> int:
    """How many idle tokens may stay in the cache: so many that they slow a step by about 1 %.

    Passing a masked cell by takes 0.7 ns for each head and layer, computing a token 27 ps for each
    parameter (measured on one core with AVX-512; the ratio matters, and holds for any number of cores).
    """
    token_seconds = 27e-12 * llama.llama_model_n_params(model.handle)
    checks = llama.llama_model_n_head(model.handle) * llama.llama_model_n_layer(model.handle)
    return int(0.01 * token_seconds / (0.7e-9 * max(1, checks)))


def _open_context(model: Model, limits: BatcherLimits) -> Pointer:
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = limits.kv_tokens
    parameters.n_batch = parameters.n_ubatch = limits.batch_tokens
    parameters.n_seq_max = limits.slots
    parameters.n_threads = parameters.n_threads_batch = limits.threads
    parameters.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    parameters.kv_unified = limits.shares_cache
    parameters.no_perf = True
    context = llama.llama_init_from_model(model.handle, parameters)
    if not context:
        raise Broken(
            f"A KV cache of {limits.kv_tokens} tokens can't be had.",
            next_step="Use fewer slots or context tokens.",
        )
    return context
