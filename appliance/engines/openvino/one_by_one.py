"""One sequence after the other on an NPU: GenAI's LLMPipeline, and the queue before it.

An NPU computes one answer at a time, with a prompt of at most the length that it was compiled for. So the
queue is the product: first come, first served; who waits may leave and counts no more.
"""

import time

import numpy as np

from appliance.engines.generation import FinishReason, Generation
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.generation_config import generation_config
from appliance.engines.openvino.library import Pipeline, genai, openvino
from appliance.engines.openvino.queue import QueuedRunner
from appliance.engines.openvino.vocabulary import TokenizerVocabulary


class OneByOneRunner(QueuedRunner):
    """Over a genai.LLMPipeline, which only the engine thread touches once it is started."""

    def __init__(
        self, pipeline: Pipeline, vocabulary: TokenizerVocabulary, metrics: EngineMetrics, *, waiting: int
    ) -> None:
        super().__init__(vocabulary, metrics, 1, waiting)
        self._pipeline = pipeline
        self._end_tokens, self._stop_token = vocabulary.end_tokens, vocabulary.stop_token
        self._generation: Generation | None = None

    @property
    def busy(self) -> int:
        generation = self._generation
        return int(generation is not None and generation.finish is None)

    def _turn(self) -> None:
        generation = self._next_waiting()
        if generation is None:
            return
        self._generation = generation
        prompt = openvino.Tensor(np.array([generation.request.prompt], np.int64))
        config = generation_config(generation.request, self._end_tokens, self._stop_token)
        self._pipeline.generate(prompt, config, _Tokens(self, generation))
        if generation.finish is None:
            # it was cancelled, or the NPU has no more room
            self._hand_out(generation, generation.end(FinishReason.LENGTH))
        self._generation = None
        self._stepped(0)

    def took(self, generation: Generation, tokens: list[int], since: float) -> bool:
        """Takes tokens as they come, `since` being when the ones before came; whether it should go on."""
        came = time.perf_counter()
        first = not generation.generated
        for token in tokens:
            if generation.finish:
                break
            if generation.ends_with(token):
                self._hand_out(generation, generation.end(FinishReason.STOP))
            else:
                self._hand_out(generation, generation.add(token, None))
        computed = len(tokens) + first * len(generation.request.prompt)
        self._stepped(len(generation.request.prompt) + generation.generated)
        self._measure(computed, came - since, time.perf_counter() - came)
        return generation.finish is None and not generation.cancelled


class _Tokens(genai.StreamerBase):  # type: ignore[misc]  # it has no types
    """Hands each token to the runner while GenAI generates."""

    def __init__(self, runner: OneByOneRunner, generation: Generation) -> None:
        super().__init__()
        self._runner = runner
        self._generation = generation
        self._since = time.perf_counter()

    def write(self, tokens: int | list[int]) -> Pipeline:
        goes_on = self._runner.took(
            self._generation, tokens if isinstance(tokens, list) else [tokens], self._since
        )
        self._since = time.perf_counter()
        return genai.StreamingStatus.RUNNING if goes_on else genai.StreamingStatus.CANCEL

    def end(self) -> None:
        """Nothing is held back here."""
