"""Embeddings: unit vectors, the same in both encodings, near for near texts of the same words."""

import base64
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.engines.serving import Reply, RunningEngine


def embed(engine: RunningEngine, text: Any, **parameters: Any) -> Reply:
    return engine.call("POST", "/v1/embeddings", {"model": engine.model, "input": text, **parameters})


def vectors(reply: Reply) -> list[list[float]]:
    assert reply.status == 200, reply.body
    return [one["embedding"] for one in reply.json()["data"]]


def test_the_official_client_gets_unit_vectors_in_order(demo_engine: RunningEngine) -> None:
    texts = ["What is Cellule?", "What is Cellule", "Combien de jours de congé ai-je ?"]
    answer = demo_engine.client().embeddings.create(model="cellule-demo", input=texts)  # asks for base64
    found = [one.embedding for one in answer.data]
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-4) for vector in found)
    near, far = (
        math.sumprod(found[0], other) if hasattr(math, "sumprod") else dot(found[0], other)
        for other in found[1:]
    )
    assert near > far
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 10


def dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_both_encodings_hold_the_same_floats(tiny_engine: RunningEngine) -> None:
    [floats] = vectors(embed(tiny_engine, "hat", encoding_format="float"))
    [encoded] = [
        one["embedding"] for one in embed(tiny_engine, "hat", encoding_format="base64").json()["data"]
    ]
    data = base64.b64decode(encoded)
    assert len(floats) == 64 == len(data) // 4
    assert all(
        math.isclose(a, b, rel_tol=1e-6) for a, b in zip(floats, struct.unpack("<64f", data), strict=True)
    )


def test_texts_and_their_tokens_embed_alike(tiny_engine: RunningEngine) -> None:
    assert vectors(embed(tiny_engine, [[300, 301]])) == vectors(embed(tiny_engine, [300, 301]))
    assert len(vectors(embed(tiny_engine, ["a", "b"]))) == 2


def test_embedding_beside_generating_disturbs_neither(tiny_engine: RunningEngine) -> None:
    quiet = vectors(embed(tiny_engine, "hat"))
    with ThreadPoolExecutor(4) as pool:
        talking = pool.submit(tiny_engine.complete, [4, 5, 6], max_tokens=500, ignore_eos=True)
        busy = [vectors(reply) for reply in pool.map(lambda _: embed(tiny_engine, "hat"), range(6))]
    assert talking.result().json()["usage"]["completion_tokens"] == 500
    assert busy == [quiet] * 6


def test_what_cannot_be_embedded_is_refused(tiny_engine: RunningEngine) -> None:
    assert embed(tiny_engine, "").error["param"] == "input"
    assert embed(tiny_engine, "a", dimensions=3).error["param"] == "dimensions"
    assert vectors(embed(tiny_engine, "a", dimensions=64))
    too_long = embed(tiny_engine, [5] * 1025)
    assert too_long.error["code"] == "context_length_exceeded" and "1025" in too_long.error["message"]
    assert embed(tiny_engine, [4096]).error["param"] == "input"
    assert embed(tiny_engine, "a", encoding_format="int8").error["param"] == "encoding_format"
