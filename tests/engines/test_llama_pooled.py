"""GGUF files that only embed or only rank, by llama.cpp: tiny random BERTs of both kinds."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.llama_pooled import probability
from tests.bench.minilm import BertShape, write_bert
from tests.engines.serving import RunningEngine, engine_process
from tests.engines.test_kinds import rerank

TINY = BertShape(layers=2, width=64, feed_forward=128, heads=2, positions=128)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    path = tmp_path_factory.mktemp("bert") / "embeds.gguf"
    write_bert(path, TINY)
    with engine_process(path, "--kind", "embeddings") as engine:
        yield engine


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    path: Path = tmp_path_factory.mktemp("bert") / "ranks.gguf"
    write_bert(path, BertShape(**(TINY.__dict__ | {"ranks": True})))
    with engine_process(path, "--kind", "rerank", name="tiny-rerank") as engine:
        yield engine


def test_many_texts_at_once_have_the_vectors_that_each_has_alone(embedder: RunningEngine) -> None:
    texts = [f"some text {'again ' * (number % 9)}" for number in range(50)]
    client = embedder.client()
    together = client.embeddings.create(model="test-model", input=texts)
    for number in (0, 7, 8, 49):
        alone = client.embeddings.create(model="test-model", input=texts[number]).data[0].embedding
        assert np.allclose(together.data[number].embedding, alone, atol=2e-3)
    assert not np.allclose(together.data[0].embedding, together.data[8].embedding, atol=2e-3)
    health = embedder.health()
    assert (health["kind"], health["engine"], health["context_tokens"]) == ("embeddings", "llama.cpp", 128)


def test_a_reranker_orders_and_a_pair_has_the_score_that_it_has_alone(ranker: RunningEngine) -> None:
    documents = ["a", "another text", "quite a different and longer text", "b"]
    results = rerank(ranker, "what is it", documents).json()["results"]
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
    assert len(set(scores)) == 4
    for one in results:
        [alone] = rerank(ranker, "what is it", [documents[one["index"]]]).json()["results"]
        assert abs(alone["relevance_score"] - one["relevance_score"]) < 5e-3
    assert rerank(ranker, "a", ["b " * 200]).error["code"] == "context_length_exceeded"


def test_what_is_no_reranker_is_not_served_as_one(tmp_path: Path) -> None:
    path = tmp_path / "embeds.gguf"
    write_bert(path, TINY)
    with pytest.raises(AssertionError, match="ended with 1"), engine_process(path, "--kind", "rerank"):
        pass


def test_a_score_of_any_size_is_a_probability() -> None:
    assert [probability(score) for score in (-1e6, 0, 1e6)] == [0, 0.5, 1]
    assert probability(1) == pytest.approx(1 / (1 + math.exp(-1)))
