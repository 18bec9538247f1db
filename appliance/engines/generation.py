"""One sequence on its way: what was asked, the tokens so far, and the text that may be shown.

The engine thread alone changes it; the asking side reads `Output`s from its mailbox and may set
`cancelled`.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.engines.model import Model
from appliance.engines.placement import Place
from appliance.engines.sampling import Logits, SamplingPlan, TokenLogprobs, TokenSampler, token_logprobs
from appliance.engines.text import TextStream


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
    """State of a running or waiting sequence; made by `Batcher.submit`."""

    request: GenerationRequest
    sampler: TokenSampler
    mailbox: Mailbox
    model: Model
    text: TextStream
    tokens: list[int]
    """Prompt and generated tokens; the computed ones come first."""
    computed: int = 0
    place: Place | None = None
    cancelled: bool = False
    generated: int = 0
    reused: int = 0
    """Tokens of the prompt that were found computed."""
    finish: FinishReason | None = None
    _shown: list[str] = field(default_factory=list)
    _logprobs: list[tuple[int, TokenLogprobs]] = field(default_factory=list)
    """With the length of the decoded text at the end of each token."""

    @classmethod
    def start(cls, model: Model, request: GenerationRequest, mailbox: Mailbox) -> "Generation":
        sampler = TokenSampler(model, request.plan)
        return cls(request, sampler, mailbox, model, TextStream(request.stop), list(request.prompt))

    @property
    def remaining(self) -> int:
        """Tokens to compute before the next one can be chosen; 1 while decoding."""
        return len(self.tokens) - self.computed

    def choose_next(self, logits: Logits) -> Output | None:
        """Takes the next token; the Output to hand over now, if any. Sets `finish` when it was the last."""
        token = self.sampler.choose(logits)
        return self.take(token, logits)

    def take(self, token: int | None, logits: Logits) -> Output | None:
        """The same for a token already chosen; None: the grammar leaves no token."""
        if token is None:
            return self._end(FinishReason.LENGTH)
        if token in self.model.end_tokens and not self.request.ignore_end:
            return self._end(FinishReason.STOP)
        self.tokens.append(token)
        self.generated += 1
        text = self.text.push(self.model.piece(token))
        if text:
            self._shown.append(text)
        if self.request.top_logprobs is not None:
            lengths = (self.text.decoded_length, token_logprobs(logits, token, self.request.top_logprobs))
            self._logprobs.append(lengths)
        if self.text.stopped:
            return self._end(FinishReason.STOP)
        if self.generated >= self.request.max_tokens:
            return self._end(FinishReason.LENGTH)
        return self._output(None) if self.request.streams and text else None

    def _end(self, reason: FinishReason) -> Output:
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
