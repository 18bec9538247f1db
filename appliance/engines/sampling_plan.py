"""What a request asks of the choice of tokens, and what is told of the choices: the same for every engine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.errors import Refused

LEAST_TEMPERATURE = LEAST_TOP_P = 1e-6
"""Engines compute with floats of 32 bits: divided by less, logits are numbers no more, and GenAI's process
ends over a 0 that it had not been given. Nothing but the likeliest is left there anyway."""
_MOST_TEMPERATURE, _MOST_TOP_K = 2.0, 1_000_000


class GrammarNotUsable(Refused):
    code = "grammar_not_usable"


@dataclass(frozen=True)
class SamplingDefaults:
    """What a model's files recommend, used where a request is silent."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


def advised_sampling(told: Mapping[str, object]) -> SamplingDefaults:
    """What a model's files advise, by SamplingDefaults' names: what no request could ask is passed over."""
    numbers = {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    advised = SamplingDefaults()
    temperature, top_p = numbers.get("temperature", -1.0), numbers.get("top_p", -1.0)
    top_k, min_p = numbers.get("top_k", -1.0), numbers.get("min_p", -1.0)
    return SamplingDefaults(
        temperature=temperature if 0 <= temperature <= _MOST_TEMPERATURE else advised.temperature,
        top_p=top_p if 0 < top_p <= 1 else advised.top_p,
        top_k=int(top_k) if 0 <= top_k <= _MOST_TOP_K else advised.top_k,
        min_p=min_p if 0 <= min_p <= 1 else advised.min_p,
    )


@dataclass(frozen=True)
class SamplingPlan:
    """What a request asks of the sampler; every value already checked and defaulted."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str | None = None
    """GBNF with the rule `root`."""
    seed: int | None = None
    """None: unpredictable."""

    @property
    def is_plain_greedy(self) -> bool:
        return self.temperature == 0 and not (
            self.presence_penalty or self.frequency_penalty or self.logit_bias or self.grammar
        )


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural logarithms of the model's own probabilities, before bias, penalties and temperature."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens, best first."""
