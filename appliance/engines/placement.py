"""Where a sequence runs, and how the tokens of a step are shared: pure rules.

A place is a sequence id of the KV cache. What a finished sequence computed is kept, in its place or
(see prefix_store) beside the cache, so that the next turn of a conversation, or a prompt with the same
beginning, computes only what is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

WORTH_WAITING_TOKENS = 32
"""A prompt waits for a running one that computes their common beginning if that saves so many tokens."""


@dataclass(eq=False)
class Place:
    """One sequence id of the KV cache and the tokens that are computed in it."""

    sequence_id: int
    tokens: list[int] = field(default_factory=list)
    """Position i of the cache holds token i."""
    prompt: list[int] | None = None
    """Of the sequence that runs here, everything it will compute first; None where nobody runs."""
    released_at_step: int = 0


@dataclass(frozen=True)
class Placement:
    """Run in `place`, after copying the first `reused` positions from `source` (None: from nowhere)."""

    place: Place
    source: Place | None
    reused: int


def common_beginning(first: list[int], second: list[int]) -> int:
    """How many tokens both begin with."""
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while high - low > 1:  # equal up to low, different somewhere before high
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low


def choose_placement(
    prompt: list[int], places: Sequence[Place], stored: Sequence[Place] = ()
) -> Placement | None:
    """Where `prompt` should run; None: nowhere now, or better later.

    The place, or stored prefix, whose tokens begin most like the prompt is the source. It is taken over when
    nobody runs in it and the prompt continues it; else its beginning is copied into the idle place unused
    for longest. At least the prompt's last token is left to compute, for its logits.
    """
    idle = [place for place in places if place.prompt is None]
    if not idle:
        return None
    most = len(prompt) - 1
    reusable = [(min(most, common_beginning(prompt, source.tokens)), source) for source in (*places, *stored)]
    reused, source = max(reusable, key=lambda pair: (pair[0], pair[1].prompt is None))
    if any(
        place.prompt is not None
        and len(place.tokens) < len(place.prompt)
        and min(most, common_beginning(prompt, place.prompt)) - reused >= WORTH_WAITING_TOKENS
        for place in places
    ):
        return None
    if reused == 0:
        return Placement(_oldest(idle), None, 0)
    if source in idle and reused >= len(source.tokens) - 1:
        return Placement(source, source, reused)
    others = [place for place in idle if place is not source]
    return Placement(_oldest(others) if others else source, source, reused)


def places_to_store(places: Sequence[Place], limit_tokens: int) -> list[Place]:
    """Idle places to empty, the longest unused first, so that at most `limit_tokens` stay in idle ones."""
    idle = sorted((one for one in places if one.prompt is None), key=lambda one: one.released_at_step)
    surplus = sum(len(one.tokens) for one in idle) - limit_tokens
    chosen = []
    for place in idle:
        if surplus > 0 and place.tokens:
            chosen.append(place)
            surplus -= len(place.tokens)
    return chosen


def _oldest(idle: list[Place]) -> Place:
    return min(idle, key=lambda place: (bool(place.tokens), place.released_at_step, place.sequence_id))


def share_prefill(remaining: list[int], budget: int) -> list[int]:
    """How many prompt tokens each sequence computes in this step: equal shares of `budget`.

    What a short prompt leaves of its share goes to the longer ones, the earliest first.
    """
    shares = [0] * len(remaining)
    open_ = [index for index, tokens in enumerate(remaining) if tokens]
    while budget > 0 and open_:
        each = max(1, budget // len(open_))
        for index in open_:
            more = min(each, remaining[index] - shares[index], budget)
            shares[index] += more
            budget -= more
        open_ = [index for index in open_ if shares[index] < remaining[index]]
    return shares


def tokens_per_step(tokens_per_second: float, target_seconds: float, *, least: int, most: int) -> int:
    """How many tokens a step may compute so that it lasts about `target_seconds`."""
    return max(least, min(most, int(tokens_per_second * target_seconds)))
