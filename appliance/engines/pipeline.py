"""What every kind beside text has in common: one pipeline, its turns, its health, its counts.

A kind is a subclass that loads its pipeline, names its path and answers one request.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.metrics import EngineMetrics, Outcome
from appliance.engines.options import TOKENS_HEADER, EngineOptions
from appliance.engines.served import Answer, check_model_name, listing
from appliance.engines.turns import Turn, Turns

Made = TypeVar("Made")
_log = logging.getLogger(__name__)


class PipelineServed(ABC):
    """A `Served` with one path. Constructing takes seconds: not on an event loop."""

    path: ClassVar[str]
    slots: ClassVar[int] = 1
    """How many requests the pool may have here at once. One computes; a second can be read meanwhile."""
    stalled_seconds: ClassVar[float] = 60.0
    """Longest time between two steps of the work; the slowest step on a slow machine is shorter."""

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        self.name = options.name
        self.kind = options.kind
        self.engine = options.engine
        self.device = options.device
        self.metrics = metrics
        self.turns = Turns(options.waiting)
        self.ready = False
        self.sha256 = ""
        """Of the model's files; a subclass sets it once it knows them to be there."""
        self._created = int(_changed(options.model_file))

    @property
    def endpoints(self) -> Mapping[str, Answer]:
        return {self.path: self._answer}

    @property
    def is_alive(self) -> bool:
        return self.turns.seconds_without_step < self.stalled_seconds

    async def warm_up(self) -> None:
        """Makes one real answer, the way every request does."""
        await self.turns.alone(self.first_work)
        self.ready = True

    @abstractmethod
    def first_work(self, turn: Turn) -> None:
        """The smallest real answer, in the pipeline's thread."""

    @abstractmethod
    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        """Answers one request; tokens in and out. Raises a Refusal or ClientLeft before it has begun."""

    @property
    def context_tokens(self) -> int:
        """Of one input; 0 where that means nothing."""
        return 0

    def health(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "model": self.name,
            "slots": self.slots,
            "busy": self.turns.busy,
            "waiting": self.turns.waiting,
            "context_tokens": self.context_tokens,
            "tokens_per_second": 0.0,
            "demo": False,
            "kind": self.kind,
            "engine": self.engine,
            "device": self.device,
            "sha256": self.sha256,
        }

    def listed(self) -> dict[str, Any]:
        return listing(self.name, self._created)

    def check_model_name(self, name: str) -> None:
        check_model_name(name, self.name)

    async def compute(self, exchange: Exchange, work: Callable[[Turn], Made]) -> Made:
        """As Turns.take, with the gauges kept."""
        self.metrics.occupancy(self.turns.busy, self.turns.waiting, 0)
        try:
            return await self.turns.take(exchange, work)
        finally:
            self.metrics.occupancy(self.turns.busy, self.turns.waiting, 0)

    async def _answer(self, exchange: Exchange) -> None:
        began = time.monotonic()
        try:
            tokens_in, tokens_out = await self.answer(exchange)
        except ClientLeft:
            self.metrics.requests.labels(Outcome.CANCELLED).inc()
            raise
        self.metrics.requests.labels(Outcome.ANSWERED).inc()
        self.metrics.prompt_tokens.inc(tokens_in)
        self.metrics.generated_tokens.inc(tokens_out)
        _log.info(
            "request %s %s answered prompt_tokens=%d generated_tokens=%d seconds=%.3f",
            exchange.request_id,
            exchange.path,
            tokens_in,
            tokens_out,
            time.monotonic() - began,
        )


def tokens_header(tokens_in: int, tokens_out: int) -> Iterable[tuple[bytes, bytes]]:
    """The header that tells the pool what an answer cost."""
    return [(TOKENS_HEADER, b"%d %d" % (tokens_in, tokens_out))]


def _changed(path: Path) -> float:
    """When a model's file or folder was last written (epoch seconds)."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
