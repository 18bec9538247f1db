"""How fast an adopted server makes tokens, learnt from every answer that it gives."""

from dataclasses import dataclass

_WEIGHT = 0.2
_TOKENS_WORTH_MEASURING = 8


@dataclass
class Speed:
    """Tokens a second of all answers together, of late; begins with what the benchmark measured."""

    tokens_per_second: float = 0.0

    def note(self, tokens: int, seconds: float, at_once: int) -> None:
        """An answer of `tokens` that took `seconds`, beside others: `at_once` with itself."""
        if tokens < _TOKENS_WORTH_MEASURING or seconds <= 0:
            return
        sample = tokens / seconds * max(1, at_once)
        if not self.tokens_per_second:
            self.tokens_per_second = sample
        self.tokens_per_second += _WEIGHT * (sample - self.tokens_per_second)
