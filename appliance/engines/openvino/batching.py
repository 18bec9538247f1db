"""Many sequences at once on a processor or GPU: GenAI's continuous batching, one step at a time.

Each turn stops what was cancelled, adds what waits while a slot is free, and makes one step: a token for
every sequence that generates, and a part of the prompts still to be read. GenAI keeps computed prefixes by
itself; how many tokens of a prompt it found again it does not tell.
"""

import itertools
import time
from dataclasses import dataclass

import numpy as np

from appliance.engines.generation import FinishReason, Generation
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.generation_config import generation_config
from appliance.engines.openvino.library import Pipeline, genai, openvino
from appliance.engines.openvino.queue import QueuedRunner
from appliance.engines.openvino.vocabulary import TokenizerVocabulary
from appliance.engines.sampling_plan import TokenLogprobs


@dataclass(eq=False)
class _Running:
    """A sequence in the pipeline."""

    generation: Generation
    handle: Pipeline


class BatchingRunner(QueuedRunner):
    """Over a genai.ContinuousBatchingPipeline, which only the engine thread touches once it is started."""

    def __init__(
        self,
        pipeline: Pipeline,
        vocabulary: TokenizerVocabulary,
        metrics: EngineMetrics,
        *,
        slots: int,
        waiting: int,
        kv_tokens: int,
    ) -> None:
        super().__init__(vocabulary, metrics, slots, waiting)
        self._pipeline = pipeline
        self._end_tokens, self._stop_token = vocabulary.end_tokens, vocabulary.stop_token
        self._kv_tokens = kv_tokens
        self._running: list[_Running] = []
        self._numbers = itertools.count()

    @property
    def busy(self) -> int:
        return len(self._running)

    def _turn(self) -> None:
        started = time.perf_counter()
        self._stop_cancelled()
        self._place_waiting()
        if not self._running:
            self._stepped(0)
            return
        placed = time.perf_counter()
        self._pipeline.step()
        stepped = time.perf_counter()
        tokens = self._read()
        self._measure(tokens, stepped - placed, time.perf_counter() - stepped + placed - started)
        self._stepped(self._kv_tokens_used())

    def _stop_cancelled(self) -> None:
        for one in [one for one in self._running if one.generation.cancelled]:
            self._leave(one)

    def _place_waiting(self) -> None:
        while len(self._running) < self.slots:
            generation = self._next_waiting()
            if generation is None:
                return
            prompt = openvino.Tensor(np.array([generation.request.prompt], np.int64))
            config = generation_config(generation.request, self._end_tokens, self._stop_token)
            handle = self._pipeline.add_request(next(self._numbers), prompt, config)
            self._running.append(_Running(generation, handle))

    def _read(self) -> int:
        """Takes what the step gave; how many tokens it computed, a prompt counted with its first token."""
        tokens = 0
        for one in list(self._running):
            if one.handle.can_read():
                for given in one.handle.read().values():
                    first = not one.generation.generated
                    tokens += len(given.generated_ids) + first * len(one.generation.request.prompt)
                    self._take(one.generation, given)
            if one.generation.finish is None and one.handle.get_status() != genai.GenerationStatus.RUNNING:
                # it ended without a token that says so: there was no room left for it
                self._hand_out(one.generation, one.generation.end(FinishReason.LENGTH))
            if one.generation.finish:
                self._leave(one)
        return tokens

    def _take(self, generation: Generation, given: Pipeline) -> None:
        wants_logprobs = generation.request.top_logprobs is not None
        logprobs = given.generated_log_probs if wants_logprobs else ()
        for token, logprob in itertools.zip_longest(given.generated_ids, logprobs):
            if generation.finish:
                return
            if generation.ends_with(token):
                self._hand_out(generation, generation.end(FinishReason.STOP))
                return
            told = TokenLogprobs(token, logprob, ()) if wants_logprobs else None
            self._hand_out(generation, generation.add(token, told))

    def _leave(self, one: _Running) -> None:
        one.handle.stop()  # no effect where it has ended
        self._running.remove(one)

    def _kv_tokens_used(self) -> int:
        return int(self._pipeline.get_metrics().cache_usage / 100 * self._kv_tokens)
