"""Embeddings and reranking by llama.cpp, for a GGUF file that is made for nothing else (bge, e5, MiniLM …).

Such a model writes no text, so it has no batcher: texts of about the same length are computed together, in a
context of their own. A reranker reads query and document as one text and gives one score.
"""

import functools
import math
from typing import Any

from appliance.engines.batcher import BatcherLimits
from appliance.engines.contract import EmbeddingRequest
from appliance.engines.embedder import Embedder, steps
from appliance.engines.exchange import Exchange
from appliance.engines.kinds_contract import RerankRequest
from appliance.engines.llama import llama
from appliance.engines.llama_settings import check_settings, chosen_devices, configure, threads
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.options import EngineOptions
from appliance.engines.pipeline import PipelineServed
from appliance.engines.ranking import rerank_answer
from appliance.engines.served import ContextLengthExceeded, ModelUnusable, TokenUnknown
from appliance.engines.turns import Turn
from appliance.engines.vectors import (
    NOTHING,
    NothingToEmbed,
    Vector,
    check_dimensions,
    embedding_answer,
)

_DEFAULT_CONTEXT_TOKENS = 512


class _Pooled(PipelineServed):
    """What both have: the model, and vectors or scores of token lists."""

    slots = 2

    def __init__(self, options: EngineOptions, metrics: EngineMetrics, *, ranks: bool) -> None:
        super().__init__(options, metrics)
        check_settings(options)
        self._devices = chosen_devices(options)
        self._model = Model(options.model_file, functools.partial(configure, options, self._devices))
        self.sha256 = self._model.sha256()
        trained = self._model.context_tokens_trained or _DEFAULT_CONTEXT_TOKENS
        limits = BatcherLimits(
            slots=1,
            context_tokens=min(options.context_tokens or trained, trained),
            kv_tokens=0,
            threads=threads(options),
            waiting=0,
        )
        self._embedder = Embedder(self._model, limits, ranks=ranks)

    @property
    def context_tokens(self) -> int:
        return self._embedder.max_tokens

    def health(self) -> dict[str, Any]:
        return {**super().health(), "device_names": [device.title for device in self._devices]}

    def _computed(self, texts: list[list[int]], turn: Turn) -> list[Vector]:
        vectors: list[Vector] = [NOTHING] * len(texts)
        for together in steps([len(tokens) for tokens in texts], self._embedder.batch_tokens):
            turn.check()
            made = self._embedder.embed([texts[place] for place in together])
            for place, vector in zip(together, made, strict=True):
                vectors[place] = vector
        return vectors

    def _check(self, tokens: list[int], what: str, param: str) -> None:
        if len(tokens) > self.context_tokens:
            raise ContextLengthExceeded(
                f"{what} has {len(tokens)} tokens; {self.context_tokens} fit into this model at once.",
                param=param,
                next_step="Cut the text into parts.",
            )
        if max(tokens, default=0) >= self._model.vocabulary_size:
            raise TokenUnknown("A token id is beyond this model's vocabulary.", param=param)


class LlamaEmbeddings(_Pooled):
    """Texts or token ids in, one vector of unit length for each out."""

    path = "/v1/embeddings"

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics, ranks=False)

    def first_work(self, turn: Turn) -> None:
        self._computed([self._tokens("Bonjour")], turn)

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        request = await exchange.body_as(EmbeddingRequest)
        self.check_model_name(request.model)
        check_dimensions(request.dimensions, self._model.embedding_width)
        used, vectors = await self.compute(exchange, functools.partial(self._work, request))
        await exchange.answer(200, embedding_answer(self.name, vectors, used, request.encoding_format))
        return used, 0

    def _work(self, request: EmbeddingRequest, turn: Turn) -> tuple[int, list[Vector]]:
        texts = self._all_tokens(request.input)
        for tokens in texts:
            if not tokens:
                raise NothingToEmbed("An input is empty.", param="input")
            self._check(tokens, "An input", "input")
        return sum(map(len, texts)), self._computed(texts, turn)

    def _all_tokens(self, given: str | list[str] | list[int] | list[list[int]]) -> list[list[int]]:
        if isinstance(given, str):
            return [self._tokens(given)]
        texts: list[list[int]] = []
        for one in given:
            if isinstance(one, int):
                return [[token for token in given if isinstance(token, int)]]
            texts.append(self._tokens(one) if isinstance(one, str) else one)
        return texts

    def _tokens(self, text: str) -> list[int]:
        if not text:
            raise NothingToEmbed("An input is empty.", param="input")
        return self._model.tokenize(text, special=False, begin=True)


def probability(score: float) -> float:
    """The logistic function, of any number."""
    return 0.5 + 0.5 * math.tanh(score / 2)


class LlamaRerank(_Pooled):
    """Scores of 0 to 1: what the file's classifier gives, as a probability."""

    path = "/v1/rerank"

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics, ranks=True)
        if llama.llama_model_n_cls_out(self._model.handle) != 1 or not self._has_classifier():
            raise ModelUnusable(
                f"{options.model_file} gives no score for a pair.",
                next_step="It must be a reranker, such as bge-reranker.",
            )

    def _has_classifier(self) -> bool:
        architecture = self._model.metadata("general.architecture")
        said = self._model.metadata(f"{architecture}.pooling_type")
        return said == str(llama.LLAMA_POOLING_TYPE_RANK)

    def first_work(self, turn: Turn) -> None:
        self._scores([self._pair("Bonjour", "Bonjour")], turn)

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        request = await exchange.body_as(RerankRequest)
        self.check_model_name(request.model)
        used, scores = await self.compute(exchange, functools.partial(self._work, request))
        await exchange.answer(200, rerank_answer(request, scores, used))
        return used, 0

    def _work(self, request: RerankRequest, turn: Turn) -> tuple[int, list[float]]:
        pairs = [self._pair(request.query, text) for text in request.texts]
        for tokens in pairs:
            self._check(tokens, "The query with a document", "documents")
        return sum(map(len, pairs)), self._scores(pairs, turn)

    def _scores(self, pairs: list[list[int]], turn: Turn) -> list[float]:
        return [probability(float(score[0])) for score in self._computed(pairs, turn)]

    def _pair(self, query: str, text: str) -> list[int]:
        """Both with the marks that the file wants before, between and behind them."""
        vocabulary = self._model.vocabulary
        end, between = llama.llama_vocab_eos(vocabulary), llama.llama_vocab_sep(vocabulary)
        end = between if end < 0 else end
        tokens = [llama.llama_vocab_bos(vocabulary)] if llama.llama_vocab_get_add_bos(vocabulary) else []
        tokens += self._model.tokenize(query, special=False)
        if llama.llama_vocab_get_add_eos(vocabulary):
            tokens.append(end)
        if llama.llama_vocab_get_add_sep(vocabulary):
            tokens.append(between)
        tokens += self._model.tokenize(text, special=False)
        return [*tokens, end] if llama.llama_vocab_get_add_eos(vocabulary) else tokens
