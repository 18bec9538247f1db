"""What a request asks of the choice of tokens, and what is told of the choices: the same for every engine."""

from dataclasses import dataclass

from appliance.errors import Refused


class GrammarNotUsable(Refused):
    code = "grammar_not_usable"


@dataclass(frozen=True)
class SamplingDefaults:
    """What a model's files recommend, used where a request is silent."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


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
