"""A short benchmark: tokens a second alone and beside others, and how many answers it makes at once.

Some servers take every request and answer one after the other. So the answers' times are laid beside each
other: as many as were being written at one moment are its slots.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.adopted.probing import Prober, Streamed
from appliance.engines.adopted.translating import usage_of

BENCH_SECONDS = 30.0
BENCH_TOKENS = 64
_PROMPT = "Count from {first} to {last} in words, one number in each line."
_LEAST_TOKENS = 8


@dataclass(frozen=True)
class Measured:
    """`at_once` answers were written at one moment; 0 where nothing could be measured."""

    tokens_per_second_alone: float = 0.0
    tokens_per_second_at_once: float = 0.0
    at_once: int = 0

    @property
    def tokens_per_second(self) -> float:
        """What the server gives at its best."""
        return max(self.tokens_per_second_alone, self.tokens_per_second_at_once)


async def measure(prober: Prober, wanted: int, *, ignore_eos: bool) -> Measured:
    """One answer, then `wanted` at once, within BENCH_SECONDS; what was measured by then counts."""
    alone: Sequence[Streamed] = ()
    together: Sequence[Streamed] = ()
    try:
        async with asyncio.timeout(BENCH_SECONDS):
            alone = [await _stream(prober, 1, ignore_eos)]
            if wanted > 1:
                together = await asyncio.gather(
                    *(_stream(prober, number, ignore_eos) for number in range(2, wanted + 2))
                )
    except TimeoutError:
        pass
    return Measured(rate(alone), rate(together), at_once(together or alone))


async def _stream(prober: Prober, number: int, ignore_eos: bool) -> Streamed:
    # each another one, for a server may keep what it computed of a prompt
    prompt = _PROMPT.format(first=number * 100, last=number * 100 + 99)
    return await prober.stream(prompt, BENCH_TOKENS, ignore_eos=ignore_eos)


def rate(streams: Sequence[Streamed]) -> float:
    """Tokens a second of all together, between the first text and the last."""
    good = [one for one in streams if _tokens(one) >= _LEAST_TOKENS]
    if not good:
        return 0.0
    seconds = max(one.last_at for one in good) - min(one.first_at for one in good)
    return sum(map(_tokens, good)) / seconds if seconds > 0 else 0.0


def at_once(streams: Sequence[Streamed]) -> int:
    """The most that were being written at one moment."""
    good = [one for one in streams if _tokens(one) >= _LEAST_TOKENS]
    return max(
        (sum(other.first_at <= one.first_at <= other.last_at for other in good) for one in good), default=0
    )


def _tokens(stream: Streamed) -> int:
    usages = [usage for event in stream.events if (usage := usage_of(event))]
    return usages[-1]["completion_tokens"] if usages and not stream.trouble else 0
