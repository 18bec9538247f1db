"""POST /v1/embeddings by OpenVINO's TextEmbeddingPipeline: texts in, one vector of unit length for each out.

Texts of about the same length are computed together, for a batch is as long as its longest text. Between
two batches a client that left is noticed. Token ids are refused: they would be another model's.
"""

import functools

import numpy as np

from appliance.engines.contract import EmbeddingRequest
from appliance.engines.exchange import Exchange
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
from appliance.engines.served import ModelUnusable
from appliance.engines.turns import Turn
from appliance.engines.vectors import NOTHING, NothingToEmbed, Vector, check_dimensions, embedding_answer
from appliance.errors import Refused

BATCH_TEXTS = 32
_POOLING = genai.TextEmbeddingPipeline.PoolingType
POOLINGS = {"cls": _POOLING.CLS, "mean": _POOLING.MEAN, "last_token": _POOLING.LAST_TOKEN}
POOLING_FILE = "1_Pooling/config.json"
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
}


class TokensNotOffered(Refused):
    code = "tokens_not_offered"


class OpenVinoEmbeddings(PipelineServed):
    """Setting `pooling`: cls, mean or last_token, where the folder does not say it."""

    path = "/v1/embeddings"
    slots = 2

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics)
        self._folder = ModelFolder(
            options.model_file, ("openvino_model.xml", "openvino_model.bin", TOKENIZER)
        )
        pooling = pooling_of(self._folder, str(options.settings.get("pooling", "")))
        self.sha256 = folder_digest(self._folder.path)
        settings = settings_without_scheduler(options, own=frozenset({"pooling"}))
        self._counter = TokenCounter(self._folder)
        self._pipeline = loaded(
            lambda: genai.TextEmbeddingPipeline(
                self._folder.path,
                settings.device,
                pooling_type=POOLINGS[pooling],
                normalize=True,
                **settings.properties,
            ),
            self._folder,
        )
        self.width = 0

    @property
    def context_tokens(self) -> int:
        return self._folder.most_tokens

    def first_work(self, turn: Turn) -> None:
        self.width = len(self._embed(["Bonjour"], [1], turn)[0])

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        request = await exchange.body_as(EmbeddingRequest)
        self.check_model_name(request.model)
        check_dimensions(request.dimensions, self.width)
        texts = _texts(request)
        counts, vectors = await self.compute(exchange, functools.partial(self._work, texts))
        answer = embedding_answer(self.name, vectors, sum(counts), request.encoding_format)
        await exchange.answer(200, answer)
        return sum(counts), 0

    def _work(self, texts: list[str], turn: Turn) -> tuple[list[int], list[Vector]]:
        counts = self._counter.count(texts)
        for tokens in counts:
            check_length(tokens, self.context_tokens, "An input", "input")
        return counts, self._embed(texts, counts, turn)

    def _embed(self, texts: list[str], counts: list[int], turn: Turn) -> list[Vector]:
        order = sorted(range(len(texts)), key=lambda index: counts[index])
        vectors: list[Vector] = [NOTHING] * len(texts)
        for start in range(0, len(order), BATCH_TEXTS):
            turn.check()
            batch = order[start : start + BATCH_TEXTS]
            made = self._pipeline.embed_documents([texts[index] for index in batch])
            for index, vector in zip(batch, made, strict=True):
                vectors[index] = np.asarray(vector, np.float32)
        return vectors


def pooling_of(folder: ModelFolder, asked: str) -> str:
    """How vectors are pooled: as `asked`, else as the model's makers wrote, else the mean."""
    if asked:
        if asked not in POOLINGS:
            raise ModelUnusable(f"There is no pooling {asked!r}, only {', '.join(POOLINGS)}.")
        return asked
    said = folder.read(POOLING_FILE)
    chosen = [name for key, name in _POOLING_KEYS.items() if said.get(key)]
    if len(chosen) > 1 or (said and not chosen):
        raise ModelUnusable(f"{folder.path / POOLING_FILE} asks for a pooling that can't be done here.")
    return chosen[0] if chosen else "mean"


def _texts(request: EmbeddingRequest) -> list[str]:
    given = [request.input] if isinstance(request.input, str) else request.input
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) != len(given):
        raise TokensNotOffered(
            "Token ids are not taken here, only texts.", param="input", next_step="Send the texts themselves."
        )
    if not all(texts):
        raise NothingToEmbed("An input is empty.", param="input")
    return texts
