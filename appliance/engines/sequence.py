"""A generation as llama.cpp's batcher runs it: its sampler, its tokens, and its place in the KV cache."""

from dataclasses import dataclass

from appliance.engines.generation import FinishReason, Generation, GenerationRequest, Mailbox, Output
from appliance.engines.model import Model
from appliance.engines.placement import Place
from appliance.engines.sampling import Logits, TokenSampler, token_logprobs
from appliance.engines.text import TextStream


@dataclass(eq=False, kw_only=True)
class Sequence(Generation):
    """Made by `Batcher.submit`."""

    sampler: TokenSampler
    tokens: list[int]
    """Prompt and generated tokens; the computed ones come first."""
    computed: int = 0
    place: Place | None = None

    @classmethod
    def start(cls, model: Model, request: GenerationRequest, mailbox: Mailbox) -> "Sequence":
        sampler = TokenSampler(model, request.plan)
        text = TextStream(request.stop)
        return cls(request, mailbox, model, text, reused=0, sampler=sampler, tokens=list(request.prompt))

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
            return self.end(FinishReason.LENGTH)
        if self.ends_with(token):
            return self.end(FinishReason.STOP)
        self.tokens.append(token)
        top = self.request.top_logprobs
        return self.add(token, None if top is None else token_logprobs(logits, token, top))
