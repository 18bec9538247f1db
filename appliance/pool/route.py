"""Third step: which node answers? A pure rule over what is known of the nodes.

Of the engines that hold the model, are ready and have a free slot, the one that would be done first:
least outstanding work divided by measured capacity. Every other node is named with its reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Candidate(Protocol):
    """What the rule reads of an engine on a node."""

    @property
    def node(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def unusable(self) -> str:
        """Why it cannot answer now (silent, not ready, broke a request); empty if it can."""

    @property
    def slots(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def outstanding_tokens(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...


Engine = TypeVar("Engine", bound=Candidate)


@dataclass(frozen=True)
class Route(Generic[Engine]):
    """The chosen engine, None if there is none, and for each node why it was taken or not."""

    chosen: Engine | None
    reasons: tuple[tuple[str, str], ...]
    """(node, sentence)"""


def choose(model: str, tokens: float, engines: Iterable[Engine]) -> Route[Engine]:
    """Chooses the engine for a request that costs about `tokens`."""
    best: Engine | None = None
    best_seconds = 0.0
    seconds: list[tuple[Engine, float]] = []
    reasons: list[tuple[str, str]] = []
    for engine in engines:
        if engine.model != model:
            reasons.append((engine.node, f"holds {engine.model}"))
        elif engine.unusable:
            reasons.append((engine.node, engine.unusable))
        elif engine.in_flight >= engine.slots:
            reasons.append((engine.node, f"all {engine.slots} slots are taken"))
        else:
            needed = (engine.outstanding_tokens + tokens) / max(engine.tokens_per_second, 0.1)
            seconds.append((engine, needed))
            if best is None or needed < best_seconds:
                best, best_seconds = engine, needed
    for engine, needed in seconds:
        word = "chosen: done first" if engine is best else "slower"
        reasons.append((engine.node, f"{word}, after about {needed:.1f} s"))
    return Route(best, tuple(reasons))
