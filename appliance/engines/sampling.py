"""How one sequence chooses its next token.

Order of the rules, as in llama.cpp: logit bias, penalties, grammar, top-k, top-p, min-p, temperature,
draw. Penalties count generated tokens only, as OpenAI defines them.

A seeded draw is an exponential race: each token of the vocabulary gets a random time, divided by its
probability, and the first wins. The logits of one prompt differ in their last digits with what else is in
the batch; a draw by cumulated probability would then often take a neighbour, the race hardly ever does.
 Where the plan is plain greedy the caller may take the row's argmax itself.
"""

import ctypes
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from appliance.engines.llama import Pointer, llama, silenced
from appliance.engines.model import Model
from appliance.engines.sampling_plan import GrammarNotUsable, SamplingPlan, TokenLogprobs

Logits = NDArray[np.float32]
"""One float per token of the vocabulary, as the model gave them."""

_MOST_GRAMMAR_SECONDS = 0.05
"""Of the processor, about one token; usual are microseconds. A grammar that can be read in several ways (of a
recursive schema whose alternatives begin alike) has twice as many with each level, and all answers wait."""

_log = logging.getLogger(__name__)
Candidates = NDArray[np.void]
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class TokenSampler:
    """The sampler of one sequence. Raises GrammarNotUsable where llama.cpp can't parse the grammar.

    `close` must be called once, after the last token.
    """

    def __init__(self, model: Model, plan: SamplingPlan) -> None:
        self.is_plain_greedy = plan.is_plain_greedy
        self._plan = plan
        self._end_tokens = model.end_tokens
        self._all_tokens = np.arange(model.vocabulary_size, dtype=np.int32)
        self._generated: dict[int, int] = {}
        self._bias_tokens = np.array([token for token, _ in plan.logit_bias], np.int64)
        self._bias = np.array([bias for _, bias in plan.logit_bias], np.float32)
        self._grammar: Pointer = None
        self._grammar_seconds = 0.0
        if plan.grammar is not None:
            with silenced():
                text = plan.grammar.encode()
                self._grammar = llama.llama_sampler_init_grammar(model.vocabulary, text, b"root")
            if not self._grammar:
                raise GrammarNotUsable(
                    "The grammar is not valid GBNF with a rule named root, or recurses on its left.",
                    param="grammar",
                )
        self._chain = _chain(plan)
        seeded = plan.seed is not None and plan.temperature > 0
        self._random = None if not seeded else np.random.Generator(np.random.Philox(plan.seed))
        self._race_times: NDArray[np.float32] | None = None

    def choose(self, logits: Logits) -> int | None:
        """The next token, which counts as generated from now on.

        None where the grammar leaves no token, or takes too long to say.
        """
        if self.is_plain_greedy:
            return int(logits.argmax())
        if self._grammar_seconds > _MOST_GRAMMAR_SECONDS:
            return None
        logits = self._with_bias_and_penalties(logits)
        if self._random:
            self._race_times = self._random.standard_exponential(logits.size, np.float32)
        token = self._draw(logits, within_grammar=False)
        # a grammar looks at every candidate, slowly: ask about one, and about all only if that is refused
        if self._grammar is not None and not self._grammar_allows(token):
            if self._grammar_seconds > _MOST_GRAMMAR_SECONDS:
                return None
            token = self._draw(logits, within_grammar=True)
            if not self._grammar_allows(token):
                return None
        if self._grammar is not None and token not in self._end_tokens:
            with self._grammar_watched():
                llama.llama_sampler_accept(self._grammar, token)
        self._generated[token] = self._generated.get(token, 0) + 1
        return token

    def close(self) -> None:
        for sampler in (self._grammar, self._chain):
            if sampler is not None:
                llama.llama_sampler_free(sampler)
        self._grammar = self._chain = None

    def _with_bias_and_penalties(self, logits: Logits) -> Logits:
        presence, frequency = self._plan.presence_penalty, self._plan.frequency_penalty
        if not (self._bias.size or presence or frequency):
            return logits
        changed = logits.copy()
        changed[self._bias_tokens] += self._bias
        if (presence or frequency) and self._generated:
            tokens = np.fromiter(self._generated, np.int64)
            counts = np.fromiter(self._generated.values(), np.float32)
            changed[tokens] -= presence + frequency * counts
        return changed

    def _draw(self, logits: Logits, *, within_grammar: bool) -> int:
        candidates = np.empty(logits.size, _CANDIDATE)
        candidates["id"], candidates["logit"] = self._all_tokens, logits
        array = _candidate_array(candidates)
        if within_grammar:
            llama.llama_sampler_apply(self._grammar, ctypes.byref(array))
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        if self._race_times is None:
            return int(array.data[array.selected].id)
        address = ctypes.cast(array.data, ctypes.c_void_p).value
        left = (ctypes.c_char * (array.size * _CANDIDATE.itemsize)).from_address(address)
        return _winner(np.frombuffer(left, _CANDIDATE), self._race_times)

    def _grammar_allows(self, token: int) -> bool:
        one = np.array([(token, 0.0, 0.0)], _CANDIDATE)
        with self._grammar_watched():
            llama.llama_sampler_apply(self._grammar, ctypes.byref(_candidate_array(one)))
        return bool(np.isfinite(one["logit"][0]))

    @contextmanager
    def _grammar_watched(self) -> Iterator[None]:
        """Over what asks the grammar about one token, which takes as long as it has ways to go on."""
        began = time.thread_time()
        yield
        seconds = time.thread_time() - began
        if seconds > max(_MOST_GRAMMAR_SECONDS, self._grammar_seconds):
            _log.warning("a grammar took %.2f s for one token: its answer is cut", seconds)
        self._grammar_seconds = max(seconds, self._grammar_seconds)


def token_logprobs(logits: Logits, token: int, top: int) -> TokenLogprobs:
    """The log-probability of `token` and of the `top` likeliest tokens."""
    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs = shifted - math.log(float(np.exp(shifted).sum()))
    best: tuple[tuple[int, float], ...] = ()
    if top:
        likeliest = np.argpartition(logprobs, -top)[-top:]
        ordered = likeliest[np.lexsort((likeliest, -logprobs[likeliest]))]
        best = tuple((int(other), float(logprobs[other])) for other in ordered)
    return TokenLogprobs(token, float(logprobs[token]), best)


def _winner(candidates: Candidates, race_times: NDArray[np.float32]) -> int:
    """The token with the least time / exp(logit), taken in logarithms."""
    with np.errstate(divide="ignore"):
        scores = candidates["logit"] - np.log(race_times[candidates["id"]])
    return int(candidates["id"][scores.argmax()])


def _candidate_array(candidates: Candidates) -> Pointer:
    pointer = candidates.ctypes.data_as(llama.llama_token_data_p)
    return llama.llama_token_data_array(data=pointer, size=candidates.size, selected=-1, sorted=False)


def _chain(plan: SamplingPlan) -> Pointer:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if plan.temperature == 0:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        return chain
    if plan.top_k:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(plan.top_k))
    if plan.top_p < 1:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(plan.top_p, 1))
    if plan.min_p:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_min_p(plan.min_p, 1))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(plan.temperature))
    if plan.seed is None:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(llama.LLAMA_DEFAULT_SEED))
    return chain
