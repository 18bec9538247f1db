"""Third step: which node answers? A pure rule over what is known of the nodes.

Of the engines that hold the model, are ready, take a prompt of that length and have a free slot, the one
that would be done first: least outstanding work divided by measured capacity. Every other node is named with
its reason.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar


class Candidate(Protocol):
    """What the rule reads of an engine on a node."""

    @property
    def node_id(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def prompt_tokens(self) -> int:
        """A longer prompt is refused there; 0: as the context allows."""

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


class Route(NamedTuple, Generic[Engine]):
    """The chosen engine, None if there is none, and what spoke for or against each."""

    chosen: Engine | None
    considered: tuple[tuple[Engine, str | float], ...]
    """Each engine with why it can't, or the seconds after which it would be done."""
    unfit: bool = False
    """A slot is free where only this prompt can't be taken: others may have it."""

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """(node, sentence) for each engine; made when asked for, not for each request."""
        return tuple((engine.node, self._sentence(engine, found)) for engine, found in self.considered)

    def _sentence(self, engine: Engine, found: str | float) -> str:
        if isinstance(found, str):
            return found
        word = "chosen: done first" if engine is self.chosen else "slower"
        return f"{word}, after about {found:.1f} s"


def takes_prompt(engine: Candidate, prompt_tokens: int, refused_by: frozenset[str]) -> bool:
    """Whether the engine may take a prompt of that length; one that refused it already does not."""
    return not (engine.prompt_tokens and prompt_tokens > engine.prompt_tokens) and (
        not refused_by or engine.node_id not in refused_by
    )


def choose(
    model: str,
    tokens: float,
    engines: Iterable[Engine],
    *,
    prompt_tokens: int = 0,
    refused_by: frozenset[str] = frozenset(),
) -> Route[Engine]:
    """Chooses the engine for a request that costs about `tokens`, whose prompt has at least `prompt_tokens`.

    `refused_by` are the ids of nodes that did not take this prompt.
    """
    unfit = False
    best: Engine | None = None
    best_seconds = 0.0
    considered: list[tuple[Engine, str | float]] = []
    for engine in engines:
        if engine.model != model:
            found: str | float = f"holds {engine.model}"
        elif engine.unusable:
            found = engine.unusable
        elif engine.in_flight >= engine.slots:
            found = f"all {engine.slots} slots are taken"
        elif not takes_prompt(engine, prompt_tokens, refused_by):
            unfit = True
            found = (
                "did not take this prompt"
                if engine.node_id in refused_by
                else f"takes prompts of {engine.prompt_tokens} tokens; this one has at least {prompt_tokens}"
            )
        else:
            found = (engine.outstanding_tokens + tokens) / max(engine.tokens_per_second, 0.1)
            if best is None or found < best_seconds:
                best, best_seconds = engine, found
        considered.append((engine, found))
    return Route(best, tuple(considered), unfit)
