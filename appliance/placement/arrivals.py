"""When requests come on a working day, and how long they are: drawn from a seed, always alike. Pure.

Requests of many people are a Poisson process whose rate follows the day: it rises in the morning, dips at
lunch, falls in the afternoon. (Thinning is not needed: the unit process is mapped through the sum of the
rate; Çinlar, Introduction to Stochastic Processes, 1975, 4.7.) Lengths are log-normal, as lengths of texts
are.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

HOUR = 3600.0
OFFICE_DAY = (
    (8, 0.6), (9, 1.2), (10, 1.4), (11, 1.2), (12, 0.5),
    (13, 0.8), (14, 1.3), (15, 1.2), (16, 1.0), (17, 0.5),
)  # fmt: skip
"""(hour, weight): an assumption, not a measurement. The busiest hour has 1.4 of 9.7 parts of the day."""
_SPREAD = 0.8
"""Standard deviation of the logarithm of a length."""


@dataclass(frozen=True)
class Workload:
    """Who asks how much of what. `models` are (name, share of the requests); lengths are mean tokens."""

    employees: int
    requests_per_day: float
    models: tuple[tuple[str, float], ...]
    prompt_tokens: float = 600.0
    answer_tokens: float = 250.0
    day: tuple[tuple[float, float], ...] = OFFICE_DAY

    @property
    def busiest_hour_requests(self) -> float:
        total = sum(weight for _, weight in self.day)
        return self.employees * self.requests_per_day * max(weight for _, weight in self.day) / total


@dataclass(frozen=True)
class Arrival:
    """One request; `at` is in seconds since midnight."""

    at: float
    caller_id: str
    model: str
    prompt_tokens: int
    answer_tokens: int


def arrivals(workload: Workload, seed: int = 0) -> list[Arrival]:
    """A day of requests, in order of time; at least one, for a day without any would tell nothing."""
    draw = random.Random(seed)
    expected = workload.employees * workload.requests_per_day
    if expected <= 0 or not workload.models:
        return []
    names, shares = zip(*workload.models, strict=True)
    found: list[Arrival] = []
    reached = draw.expovariate(1.0)
    if reached >= expected:
        reached = draw.random() * expected
    while reached < expected:
        found.append(
            Arrival(
                _time_of(reached / expected, workload.day),
                f"employee-{draw.randrange(workload.employees)}",
                draw.choices(names, shares)[0],
                _length(draw, workload.prompt_tokens),
                _length(draw, workload.answer_tokens),
            )
        )
        reached += draw.expovariate(1.0)
    return found


def _time_of(share: float, day: Sequence[tuple[float, float]]) -> float:
    """The second of the day by which `share` of its requests have come."""
    weights = [weight for _, weight in day]
    sums = list(accumulate(weights))
    wanted = share * sums[-1]
    index = min(bisect_left(sums, wanted), len(day) - 1)
    before = sums[index] - weights[index]
    within = (wanted - before) / weights[index] if weights[index] else 0.0
    return (day[index][0] + within) * HOUR


def _length(draw: random.Random, mean: float) -> int:
    return max(1, round(draw.lognormvariate(math.log(mean) - _SPREAD**2 / 2, _SPREAD)))
