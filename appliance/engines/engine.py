"""llama.cpp's engine, loaded: model, batcher and what the endpoints ask of them together."""

import asyncio
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import psutil

from appliance.engines.batcher import Batcher, BatcherLimits
from appliance.engines.chat_template import ChatTemplate
from appliance.engines.contract import SamplingFields
from appliance.engines.embedder import Embedder
from appliance.engines.generation import FinishReason, GenerationRequest, Output
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.options import EngineOptions
from appliance.engines.sampling import SamplingPlan
from appliance.engines.served import (
    Answer,
    ContextLengthExceeded,
    PromptEmpty,
    TokenUnknown,
    check_model_name,
    listing,
)
from appliance.engines.sharding.split import configure, limited, open_split
from appliance.hardware.profile import EngineName

WARM_UP_PROMPT = "Bonjour"
DEFAULT_CONTEXT_TOKENS = 8192
_KV_SHARE_OF_FREE_MEMORY = 0.4
_PREFIX_SHARE_OF_FREE_MEMORY = 0.1
_STALLED_SECONDS = 60.0
_LONG_TEXT_CHARACTERS = 8192


class Engine:
    """Everything loaded; `ready` once a token was made. Constructing takes seconds: not on an event loop."""

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        self.name = options.name
        self.kind = options.kind
        self.metrics = metrics
        self.split = open_split(options, DEFAULT_CONTEXT_TOKENS)
        self.model = Model(options.model_file, partial(configure, options, self.split))
        self.sha256 = self.model.sha256()
        self.limits = limited(_limits(self.model, options), self.split)
        self.template = ChatTemplate(self.model)
        self.batcher = Batcher(self.model, self.limits, metrics)
        self.embedder = Embedder(self.model, self.limits)
        self.ready = False

    @cached_property
    def endpoints(self) -> Mapping[str, Answer]:
        # they import this module for their types
        from appliance.engines.chat import chat_completions
        from appliance.engines.completions import completions
        from appliance.engines.embeddings import embeddings

        return {
            "/v1/chat/completions": partial(chat_completions, engine=self),
            "/v1/completions": partial(completions, engine=self),
            "/v1/embeddings": partial(embeddings, engine=self),
        }

    async def warm_up(self) -> None:
        """Makes one token with the batcher, the way every request does."""
        self.batcher.start(asyncio.get_running_loop())
        answered: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        prompt = tuple(self.model.tokenize(WARM_UP_PROMPT, special=False, begin=True))
        request = GenerationRequest(prompt, SamplingPlan(temperature=0), 1, ignore_end=True, streams=False)
        self.batcher.submit([request], [answered.set_result])
        output = await answered
        assert output.finish is FinishReason.LENGTH
        self.ready = True

    @property
    def is_alive(self) -> bool:
        """False when work waits and no step has ended for a minute."""
        return self.batcher.seconds_without_step() < _STALLED_SECONDS

    def health(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "model": self.name,
            "slots": self.limits.slots,
            "busy": self.batcher.busy,
            "waiting": self.batcher.waiting,
            "context_tokens": self.limits.context_tokens,
            "tokens_per_second": round(self.batcher.tokens_per_second, 1),
            "demo": self.model.is_demo,
            "kind": self.kind,
            "engine": EngineName.LLAMA_CPP,
            "sha256": self.sha256,
            "parts": self.split.told() if self.split else [],
        }

    async def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """As Model.tokenize; a long text does not hold up the event loop."""
        if len(text) < _LONG_TEXT_CHARACTERS:
            return self.model.tokenize(text, special=special, begin=begin)
        return await asyncio.to_thread(self.model.tokenize, text, special=special, begin=begin)

    def listed(self) -> dict[str, Any]:
        return listing(self.name, self.model.created, is_demo=self.model.is_demo)

    def check_model_name(self, name: str) -> None:
        check_model_name(name, self.name)

    def check_prompt(self, prompt: list[int], param: str) -> None:
        """Raises ContextLengthExceeded where no token of an answer fits, PromptEmpty, TokenUnknown."""
        if len(prompt) >= self.limits.context_tokens:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt)} tokens; "
                f"the context of this model has {self.limits.context_tokens}, and an answer needs one.",
                param=param,
                next_step="Shorten the prompt.",
            )
        if not prompt:
            raise PromptEmpty("The prompt has no token.", param=param)
        self.check_tokens(prompt, param)

    def check_tokens(self, tokens: list[int], param: str) -> None:
        if max(tokens) >= self.model.vocabulary_size:
            raise TokenUnknown(
                f"A token id is beyond the vocabulary of {self.model.vocabulary_size}.", param=param
            )

    def generations(
        self,
        request: SamplingFields,
        prompt: list[int],
        *,
        max_tokens: int | None,
        top_logprobs: int | None,
        grammar: str | None,
    ) -> list[GenerationRequest]:
        """The `n` sequences that a request asks for. Raises TokenUnknown for a bias on no token."""
        room = self.limits.context_tokens - len(prompt)
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
        advised = self.model.sampling_defaults
        bias = []
        for token, value in request.logit_bias.items():
            if not token.isascii() or not token.isdigit() or int(token[:10]) >= self.model.vocabulary_size:
                raise TokenUnknown(f"{token[:20]!r} is no token id of this model.", param="logit_bias")
            bias.append((int(token), value))
        return SamplingPlan(
            temperature=advised.temperature if request.temperature is None else request.temperature,
            top_p=advised.top_p if request.top_p is None else request.top_p,
            top_k=advised.top_k if request.top_k is None else request.top_k,
            min_p=advised.min_p if request.min_p is None else request.min_p,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            logit_bias=tuple(bias),
            grammar=grammar,
            seed=seed,
        )


def _limits(model: Model, options: EngineOptions) -> BatcherLimits:
    context = min(options.context_tokens or DEFAULT_CONTEXT_TOKENS, model.context_tokens_trained)
    free = psutil.virtual_memory().available
    affordable = int(free * _KV_SHARE_OF_FREE_MEMORY / max(1, model.kv_bytes_per_token))
    kv_tokens = options.kv_tokens or max(context, min(options.slots * context, affordable))
    physical = psutil.cpu_count(logical=False) or 1
    allowed = len(psutil.Process().cpu_affinity() or [1])
    return BatcherLimits(
        slots=options.slots,
        context_tokens=min(context, kv_tokens),
        kv_tokens=kv_tokens,
        threads=options.threads or min(physical, allowed),
        waiting=options.waiting,
        prefix_bytes=int(free * _PREFIX_SHARE_OF_FREE_MEMORY),
    )
