"""What every engine that makes text has in common: it checks prompts and turns requests into generations.

How tokens are computed is the `runner`'s; what a request may ask beyond the contract's checks is decided by
`refuse_what_is_not_offered`, where an engine names what it can't do.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

from appliance.engines.chat_template import ChatTemplate
from appliance.engines.contract import SamplingFields
from appliance.engines.generation import FinishReason, Generation, GenerationRequest, Mailbox, Output
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions
from appliance.engines.sampling_plan import LEAST_TEMPERATURE, LEAST_TOP_P, SamplingPlan
from appliance.engines.served import (
    Answer,
    ContextLengthExceeded,
    PromptEmpty,
    TokenUnknown,
    check_model_name,
    check_prompt_limit,
    listing,
)
from appliance.engines.vocabulary import Vocabulary
from appliance.hardware.profile import EngineName

WARM_UP_PROMPT = "Bonjour, Cellule."
DEFAULT_CONTEXT_TOKENS = 8192
_STALLED_SECONDS = 60.0
_LONG_TEXT_CHARACTERS = 8192


class Runner(Protocol):
    """The thread that computes. `start` comes first; then everything from that event loop's thread."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None: ...

    def submit(self, requests: list[GenerationRequest], mailboxes: list[Mailbox]) -> Sequence[Generation]:
        """All of them wait for a slot, or none. Raises EngineBusy, TooManyChoices, GrammarNotUsable."""

    def cancel(self, generation: Generation) -> None:
        """Its slot is free before the next step. No effect once it has finished."""

    @property
    def busy(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def tokens_per_second(self) -> float: ...
    def seconds_without_step(self) -> float:
        """0 while there is nothing to do."""


class TextEngine:
    """Everything loaded; `ready` once a token was made. Subclasses set what is only annotated here."""

    engine: EngineName
    sha256: str
    slots: int
    context_tokens: int
    """Of one sequence, prompt and answer together."""
    runner: Runner

    def __init__(self, options: EngineOptions, metrics: EngineMetrics, vocabulary: Vocabulary) -> None:
        self.name = options.name
        self.kind = options.kind
        self.device = options.device
        self.metrics = metrics
        self.prompt_tokens = options.prompt_tokens
        """A longer prompt is refused here; 0: as the context allows."""
        self.vocabulary = vocabulary
        self.template = ChatTemplate(vocabulary)
        self.ready = False

    @cached_property
    def endpoints(self) -> Mapping[str, Answer]:
        # they import this module for their types
        from appliance.engines.chat import chat_completions
        from appliance.engines.completions import completions

        return {
            "/v1/chat/completions": partial(chat_completions, engine=self),
            "/v1/completions": partial(completions, engine=self),
        }

    async def warm_up(self) -> None:
        """Makes one token with the runner, the way every request does."""
        self.runner.start(asyncio.get_running_loop())
        answered: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        prompt = tuple(self.vocabulary.tokenize(WARM_UP_PROMPT, special=False, begin=True))
        request = GenerationRequest(prompt, SamplingPlan(temperature=0), 1, ignore_end=True, streams=False)
        self.runner.submit([request], [answered.set_result])
        output = await answered
        assert output.finish is FinishReason.LENGTH
        self.ready = True

    @property
    def is_alive(self) -> bool:
        """False when work waits and no step has ended for a minute."""
        return self.runner.seconds_without_step() < _STALLED_SECONDS

    def health(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "model": self.name,
            "slots": self.slots,
            "busy": self.runner.busy,
            "waiting": self.runner.waiting,
            "context_tokens": self.context_tokens,
            "prompt_tokens": self.prompt_tokens,
            "tokens_per_second": round(self.runner.tokens_per_second, 1),
            "demo": self.vocabulary.is_demo,
            "kind": self.kind,
            "engine": self.engine,
            "device": self.device,
            "sha256": self.sha256,
        }

    async def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """As Vocabulary.tokenize; a long text does not hold up the event loop."""
        if len(text) < _LONG_TEXT_CHARACTERS:
            return self.vocabulary.tokenize(text, special=special, begin=begin)
        return await asyncio.to_thread(self.vocabulary.tokenize, text, special=special, begin=begin)

    def listed(self) -> dict[str, Any]:
        return listing(self.name, self.vocabulary.created, is_demo=self.vocabulary.is_demo)

    def check_model_name(self, name: str) -> None:
        check_model_name(name, self.name)

    def check_prompt(self, prompt: list[int], param: str) -> None:
        """Raises ContextLengthExceeded where no token of an answer fits, PromptTooLongHere, PromptEmpty,
        TokenUnknown."""
        if len(prompt) >= self.context_tokens:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt)} tokens; "
                f"the context of this model has {self.context_tokens}, and an answer needs one.",
                param=param,
                next_step="Shorten the prompt.",
            )
        check_prompt_limit(len(prompt), self.prompt_tokens, param)
        if not prompt:
            raise PromptEmpty("The prompt has no token.", param=param)
        self.check_tokens(prompt, param)

    def check_tokens(self, tokens: list[int], param: str) -> None:
        if max(tokens) >= self.vocabulary.vocabulary_size:
            raise TokenUnknown(
                f"A token id is beyond the vocabulary of {self.vocabulary.vocabulary_size}.", param=param
            )

    def refuse_what_is_not_offered(self, request: SamplingFields, top_logprobs: int | None) -> None:
        """Raises ParameterNotOffered, with the name, for what this engine can't do; nothing by default."""

    def generations(
        self,
        request: SamplingFields,
        prompt: list[int],
        *,
        max_tokens: int | None,
        top_logprobs: int | None,
        grammar: str | None,
    ) -> list[GenerationRequest]:
        """The `n` sequences that a request asks for.

        Raises ParameterNotOffered, and TokenUnknown for a bias on no token.
        """
        self.refuse_what_is_not_offered(request, top_logprobs)
        room = self.context_tokens - len(prompt)
        seed = request.seed
        shared = tuple(prompt)
        return [
            GenerationRequest(
                prompt=shared,
                plan=self._plan(request, grammar, None if seed is None else (seed + choice) % 2**64),
                max_tokens=min(room, max_tokens or room),
                stop=request.stop_strings,
                top_logprobs=top_logprobs,
                ignore_end=request.ignore_eos,
                streams=request.stream,
            )
            for choice in range(request.n)
        ]

    def _plan(self, request: SamplingFields, grammar: str | None, seed: int | None) -> SamplingPlan:
        advised = self.vocabulary.sampling_defaults
        size = self.vocabulary.vocabulary_size
        bias = []
        for token, value in request.logit_bias.items():
            if int(token) >= size:
                raise TokenUnknown(f"{token[:20]!r} is no token id of this model.", param="logit_bias")
            bias.append((int(token), value))
        temperature = advised.temperature if request.temperature is None else request.temperature
        top_p = advised.top_p if request.top_p is None else request.top_p
        return SamplingPlan(
            temperature=temperature if temperature >= LEAST_TEMPERATURE else 0.0,
            top_p=max(top_p, LEAST_TOP_P),
            top_k=advised.top_k if request.top_k is None else request.top_k,
            min_p=advised.min_p if request.min_p is None else request.min_p,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            logit_bias=tuple(bias),
            grammar=grammar,
            seed=seed,
        )
