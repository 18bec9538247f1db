"""One sequence on its way: what was asked, the tokens so far, and the text that may be shown.

The same for every engine. The engine thread alone changes it; the asking side reads `Output`s from its
mailbox and may set `cancelled`.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.engines.sampling_plan import SamplingPlan, TokenLogprobs
from appliance.engines.text import TextStream
from appliance.engines.vocabulary import Vocabulary


class FinishReason(enum.StrEnum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Output:
    """Text that became safe to show, with the log-probabilities of the tokens that it completes."""

    text: str
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: FinishReason | None = None


@dataclass(frozen=True)
class GenerationRequest:
    """What one sequence must do; `n` choices are `n` of these with seeds of their own."""

    prompt: tuple[int, ...]
    plan: SamplingPlan
    max_tokens: int
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    """None: no log-probabilities at all."""
    ignore_end: bool = False
    streams: bool = True
    """False: one Output at the end is enough."""


Mailbox = Callable[[Output], None]
"""Called on the event loop's thread, in order."""


@dataclass(eq=False)
class Generation:
    """State of a running or waiting sequence; made when it is submitted."""

    request: GenerationRequest
    mailbox: Mailbox
    vocabulary: Vocabulary
    text: TextStream
    cancelled: bool = False
    generated: int = 0
    reused: int | None = None
    """Tokens of the prompt that were found computed; None: the engine doesn't tell."""
    finish: FinishReason | None = None
    _shown: list[str] = field(default_factory=list)
    _logprobs: list[tuple[int, TokenLogprobs]] = field(default_factory=list)
    """With the length of the decoded text at the end of each token."""

    def ends_with(self, token: int) -> bool:
        """Whether `token` ends the sequence and is no part of its text."""
        return token in self.vocabulary.end_tokens and not self.request.ignore_end

    def add(self, token: int, logprobs: TokenLogprobs | None) -> Output | None:
        """Takes a token that doesn't end it; the Output to hand over now, if any.

        Sets `finish` where the token completes a stop string or is the last that was asked for.
        """
        self.generated += 1
        text = self.text.push(self.vocabulary.piece(token))
        if text:
            self._shown.append(text)
        if logprobs is not None:
            self._logprobs.append((self.text.decoded_length, logprobs))
        if self.text.stopped:
            return self.end(FinishReason.STOP)
        if self.generated >= self.request.max_tokens:
            return self.end(FinishReason.LENGTH)
        return self._output(None) if self.request.streams and text else None

    def end(self, reason: FinishReason) -> Output:
        """The last Output, with everything that was held back. Sets `finish`."""
        self._shown.append(self.text.finish())
        # held-back text may hide a stop string no longer: finish() releases it, or finds it
        self.finish = FinishReason.STOP if self.text.stopped else reason
        return self._output(self.finish)

    def _output(self, finish: FinishReason | None) -> Output:
        text = "".join(self._shown)
        self._shown.clear()
        limit = self.text.shown_length
        ready = 0
        while ready < len(self._logprobs) and self._logprobs[ready][0] <= limit:
            ready += 1
        if finish and not self.text.stopped:
            ready = len(self._logprobs)
        logprobs = tuple(entry for _, entry in self._logprobs[:ready])
        del self._logprobs[:ready]
        return Output(text, logprobs, finish)
