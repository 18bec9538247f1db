"""POST /v1/rerank by OpenVINO's TextRerankPipeline: how well does each document answer the query?

A document is scored with the query before it, so both together must fit. Documents are scored in batches;
between two of them a client that left is noticed.
"""

import functools

from appliance.engines.exchange import Exchange
from appliance.engines.kinds_contract import RerankRequest
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.files import folder_digest
from appliance.engines.openvino.folder import (
    TOKENIZER,
    ModelFolder,
    TokenCounter,
    check_length,
    loaded,
    settings_without_scheduler,
)
from appliance.engines.openvino.library import genai
from appliance.engines.options import EngineOptions
from appliance.engines.pipeline import PipelineServed
from appliance.engines.ranking import rerank_answer
from appliance.engines.turns import Turn

BATCH_DOCUMENTS = 16


class OpenVinoRerank(PipelineServed):
    """Scores of 0 to 1 as the pipeline gives them."""

    path = "/v1/rerank"
    slots = 2

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics)
        self._folder = ModelFolder(
            options.model_file, ("openvino_model.xml", "openvino_model.bin", TOKENIZER)
        )
        self.sha256 = folder_digest(self._folder.path)
        settings = settings_without_scheduler(options)
        self._counter = TokenCounter(self._folder)
        self._pipeline = loaded(
            lambda: genai.TextRerankPipeline(
                self._folder.path, settings.device, top_n=BATCH_DOCUMENTS, **settings.properties
            ),
            self._folder,
        )

    @property
    def context_tokens(self) -> int:
        return self._folder.most_tokens

    def first_work(self, turn: Turn) -> None:
        self._scores("Bonjour", ["Bonjour"], [1], turn)

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        request = await exchange.body_as(RerankRequest)
        self.check_model_name(request.model)
        tokens, scores = await self.compute(exchange, functools.partial(self._work, request))
        await exchange.answer(200, rerank_answer(request, scores, tokens))
        return tokens, 0

    def _work(self, request: RerankRequest, turn: Turn) -> tuple[int, list[float]]:
        counts = self._pair_tokens(request.query, request.texts)
        for tokens in counts:
            check_length(tokens, self.context_tokens, "The query with a document", "documents")
        return sum(counts), self._scores(request.query, request.texts, counts, turn)

    def _pair_tokens(self, query: str, texts: list[str]) -> list[int]:
        """An upper bound by one or two: the special tokens of both count."""
        of_query, *of_texts = self._counter.count([query, *texts])
        return [of_query + tokens for tokens in of_texts]

    def _scores(self, query: str, texts: list[str], counts: list[int], turn: Turn) -> list[float]:
        order = sorted(range(len(texts)), key=lambda index: counts[index])
        scores = [0.0] * len(texts)
        for start in range(0, len(order), BATCH_DOCUMENTS):
            turn.check()
            batch = order[start : start + BATCH_DOCUMENTS]
            for place, score in self._pipeline.rerank(query, [texts[index] for index in batch]):
                scores[batch[place]] = float(score)
        return scores
