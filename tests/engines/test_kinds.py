"""Embeddings, reranking, transcription and images: the real OpenVINO pipelines behind the engine server."""

import base64
import io
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import openai
import openvino_genai
import pytest
import soundfile

from appliance.engines.options import Kind
from tests.engines.kinds import openvino_engine, sound_file
from tests.engines.serving import Reply, RunningEngine
from tests.models.tiny import tiny_openvino
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)  # the first run sets up the converter and converts
Engines = dict[Kind, RunningEngine]
KINDS = (Kind.EMBEDDINGS, Kind.RERANK, Kind.TRANSCRIPTION, Kind.IMAGES)


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(openvino_engine(kind, "--waiting", "4")) for kind in KINDS}


def test_each_engine_says_what_it_is(engines: Engines) -> None:
    for kind, engine in engines.items():
        health = engine.health()
        assert (health["ready"], health["kind"], health["engine"]) == (True, kind, "openvino")
        assert (health["busy"], health["waiting"]) == (0, 0) and health["slots"] >= 1
        assert engine.client().models.list().data[0].id == f"tiny-{kind}"
        elsewhere = engine.chat("hello").error
        assert (elsewhere["code"], elsewhere["param"]) == ("path_unknown", "model")
        assert "does not answer at '/v1/chat/completions', only at /v1/" in elsewhere["message"]
    assert engines[Kind.EMBEDDINGS].health()["context_tokens"] == 128
    assert engines[Kind.RERANK].health()["context_tokens"] == 128


# embeddings


def test_vectors_are_those_of_the_bare_pipeline_in_the_order_of_the_texts(engines: Engines) -> None:
    texts = [f"text number {number} " * (1 + number % 5) for number in range(40)]
    answer = engines[Kind.EMBEDDINGS].client().embeddings.create(model="tiny-embeddings", input=texts)
    bare = openvino_genai.TextEmbeddingPipeline(
        tiny_openvino(Kind.EMBEDDINGS),
        "CPU",
        pooling_type=openvino_genai.TextEmbeddingPipeline.PoolingType.MEAN,
    )
    assert [one.index for one in answer.data] == list(range(40))
    for text, one in zip(texts, answer.data, strict=True):
        assert math.isclose(math.hypot(*one.embedding), 1, rel_tol=1e-4)
        assert np.allclose(one.embedding, bare.embed_documents([text])[0], atol=2e-3)
    assert answer.usage.prompt_tokens > 400


def test_what_cannot_be_embedded_is_refused(engines: Engines) -> None:
    def refused(text: Any, **more: Any) -> dict[str, Any]:
        body = {"model": "tiny-embeddings", "input": text, **more}
        return engines[Kind.EMBEDDINGS].call("POST", "/v1/embeddings", body).error

    assert refused("")["code"] == "nothing_to_embed"
    assert refused([1, 2])["code"] == "tokens_not_offered"
    assert refused("a", dimensions=3)["param"] == "dimensions"
    assert (
        refused("a " * 200)["code"] == "context_length_exceeded" and "202" in refused("a " * 200)["message"]
    )
    assert refused("a", colour="red")["param"] == "colour"


def test_one_long_text_among_many_short_takes_no_memory_for_all(engines: Engines) -> None:
    engine = engines[Kind.EMBEDDINGS]

    def most_bytes() -> int:
        status = Path(f"/proc/{engine.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    before = most_bytes()
    body = {"model": "tiny-embeddings", "input": ["a " * 50_000, *["a"] * 499]}
    reply = engine.call("POST", "/v1/embeddings", body)
    assert reply.error["code"] == "context_length_exceeded" and "50002" in reply.error["message"]
    assert most_bytes() - before < 300e6  # each as long as the longest took 1.2 GB


# reranking


def rerank(engine: RunningEngine, query: str, documents: Any, **more: Any) -> Reply:
    body = {"model": "tiny-rerank", "query": query, "documents": documents, **more}
    return engine.call("POST", "/v1/rerank", body)


def test_documents_come_back_with_the_scores_of_the_bare_pipeline(engines: Engines) -> None:
    documents = [f"document {number} says " + "much " * (number % 7) for number in range(30)]
    answer = rerank(engines[Kind.RERANK], "what is said?", documents).json()
    bare = openvino_genai.TextRerankPipeline(tiny_openvino(Kind.RERANK), "CPU", top_n=30)
    expected = dict(bare.rerank("what is said?", documents))
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 5
    assert all(
        math.isclose(one["relevance_score"], expected[one["index"]], abs_tol=5e-3)
        for one in answer["results"]
    )
    assert answer["id"] and answer["usage"]["prompt_tokens"] == answer["meta"]["tokens"]["input_tokens"] > 300


def test_top_n_and_documents_are_as_cohere_has_them(engines: Engines) -> None:
    documents = ["one", {"text": "two"}, "three"]
    answer = rerank(engines[Kind.RERANK], "number", documents, top_n=2, return_documents=True).json()
    assert len(answer["results"]) == 2
    assert {one["document"]["text"] for one in answer["results"]} < {"one", "two", "three"}
    assert all("document" not in one for one in rerank(engines[Kind.RERANK], "a", ["b"]).json()["results"])


def test_what_cannot_be_ranked_is_refused(engines: Engines) -> None:
    engine = engines[Kind.RERANK]
    assert rerank(engine, "", ["a"]).error["param"] == "query"
    assert rerank(engine, "a", []).error["param"] == "documents"
    assert rerank(engine, "a", [{"title": "x"}]).error["param"] == "documents"
    assert rerank(engine, "a", ["b"], top_n=0).error["param"] == "top_n"
    assert rerank(engine, "a", ["b " * 200]).error["code"] == "context_length_exceeded"
    assert rerank(engine, "a", ["b"], rank_fields=["x"]).error["param"] == "rank_fields"


# transcription


def test_a_sound_is_heard_in_every_format_and_shape(engines: Engines) -> None:
    client = engines[Kind.TRANSCRIPTION].client()
    heard = {
        file_format: client.audio.transcriptions.create(
            model="tiny-transcription",
            file=(f"a.{file_format.lower()}", sound_file(2, file_format, rate_hz=44_100, channels=2)),
            language="en",
        ).text
        for file_format in ("WAV", "FLAC")
    }
    assert heard["WAV"] and heard["WAV"] == heard["FLAC"]
    for file_format in ("OGG", "MP3"):
        sound = ("a", sound_file(2, file_format))
        assert client.audio.transcriptions.create(model="tiny-transcription", file=sound).text
    for shape, start in (("text", ""), ("srt", "1\n00:00:"), ("vtt", "WEBVTT\n\n00:00:")):
        request: dict[str, Any] = {"file": ("a.wav", sound_file(2)), "response_format": shape}
        written = client.audio.transcriptions.create(model="tiny-transcription", **request)
        assert isinstance(written, str) and written.startswith(start) and len(written) > 5


def test_segments_have_their_times_within_the_sound(engines: Engines) -> None:
    answer = (
        engines[Kind.TRANSCRIPTION]
        .client()
        .audio.transcriptions.create(
            model="tiny-transcription",
            file=("a.wav", sound_file(40)),
            response_format="verbose_json",
            timestamp_granularities=["segment"],
            language="de",
            prompt="Cellule",
            temperature=0,
        )
    )
    assert answer.language == "de" and answer.duration == 40
    assert answer.segments and all(0 <= one.start <= one.end <= 40 for one in answer.segments)


def test_of_a_long_prompt_the_end_counts(engines: Engines) -> None:
    def heard(prompt: str) -> Any:
        sound = ("a.wav", sound_file(1))
        create = engines[Kind.TRANSCRIPTION].client().audio.transcriptions.create
        return create(model="tiny-transcription", file=sound, prompt=prompt, response_format="verbose_json")

    last = "names: Cellule, Aurélie"  # its last 31 bytes, as the tiny decoder holds 64 tokens
    assert heard("é" + "word " * 700 + last).segments == heard("d " + "word " + last).segments
    assert heard("é" * 2000).segments


def test_a_sound_that_cannot_be_heard_is_refused(engines: Engines) -> None:
    def refused(sound: bytes, **more: Any) -> openai.BadRequestError:
        with pytest.raises(openai.BadRequestError) as raised:
            engines[Kind.TRANSCRIPTION].client().audio.transcriptions.create(
                model="tiny-transcription", file=("a.wav", sound), **more
            )
        return raised.value

    whole = sound_file(1)
    assert refused(b"no sound at all").code == "audio_unreadable"
    assert refused(sound_file(1, "FLAC")[:300]).code in ("audio_unreadable", "audio_too_short")
    assert refused(sound_file(0.01)).code == "audio_too_short"
    assert refused(whole, language="xx").code == "language_unknown"
    assert refused(whole, response_format="diarized_json").param == "response_format"
    assert refused(whole, timestamp_granularities=["word"], response_format="verbose_json").param == (
        "timestamp_granularities"
    )
    assert refused(whole, extra_body={"colour": "red"}).param == "colour"
    plain = engines[Kind.TRANSCRIPTION].call("POST", "/v1/audio/transcriptions", {"model": "x"})
    assert plain.error["code"] == "invalid_form"


def test_a_small_file_that_unpacks_to_hours_is_stopped(engines: Engines) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(3700 * 8000, np.int16), 8000, format="FLAC")
    assert len(file.getvalue()) < 2_000_000
    with pytest.raises(openai.APIStatusError) as raised:
        engines[Kind.TRANSCRIPTION].client().audio.transcriptions.create(
            model="tiny-transcription", file=("a.flac", file.getvalue())
        )
    assert raised.value.code == "audio_too_long" and raised.value.status_code == 413


# images


def pixels(encoded: str | None) -> Any:
    """Reads a PNG as another program would."""
    import struct
    import zlib

    data = base64.b64decode(encoded or "")
    assert data.startswith(b"\x89PNG")
    chunks, at = {}, 8
    while at < len(data):
        [length] = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        chunks[kind] = body
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * 3)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def draw(engines: Engines, **given: Any) -> Any:
    request = {
        "model": "tiny-images",
        "prompt": "a cat",
        "size": "64x96",
        "extra_body": {"steps": 2, "seed": 5},
    }
    return engines[Kind.IMAGES].client().images.generate(**(request | given))


def test_images_are_png_files_of_the_asked_size_and_a_seed_repeats_them(engines: Engines) -> None:
    answer = draw(engines, n=2)
    first, second = (pixels(one.b64_json) for one in answer.data)
    assert first.shape == (96, 64, 3) and first.std() > 1
    assert not np.array_equal(first, second)
    assert np.array_equal(first, pixels(draw(engines).data[0].b64_json))
    assert not np.array_equal(first, pixels(draw(engines, prompt="a dog").data[0].b64_json))
    for seed in (-1, 2**63 - 1, -(2**63)):
        assert len(draw(engines, n=2, extra_body={"steps": 1, "seed": seed}).data) == 2
    bare = openvino_genai.Text2ImagePipeline(tiny_openvino(Kind.IMAGES), "CPU")
    drawn = bare.generate("a cat", width=64, height=96, num_inference_steps=2, rng_seed=5).data[0]
    assert np.abs(first.astype(int) - drawn.astype(int)).max() <= 2
    assert answer.usage.output_tokens == 2 * 4 * 6 and answer.usage.input_tokens > 3


def test_images_that_cannot_be_made_are_refused(engines: Engines) -> None:
    for given, param in (
        ({"response_format": "url"}, "response_format"),
        ({"size": "65x64"}, "size"),
        ({"size": "9999x64"}, "size"),
        ({"size": "٦٤x٦٤"}, "size"),
        ({"n": 50}, "n"),
        ({"style": "vivid"}, "style"),
        ({"prompt": "a " * 200}, "prompt"),
    ):
        with pytest.raises(openai.BadRequestError) as raised:
            draw(engines, **given)
        assert raised.value.param == param, given


# turns


def test_who_leaves_ends_the_work_and_a_long_line_is_refused(engines: Engines) -> None:
    engine = engines[Kind.IMAGES]
    long = {"model": "tiny-images", "prompt": "a cat", "size": "256x256", "steps": 100, "n": 4}
    working = engine.raw("/v1/images/generations", long)
    wait_until(lambda: engine.health()["busy"], within_seconds=10, what="the image is being made")
    waiting = [engine.raw("/v1/images/generations", long) for _ in range(4)]
    wait_until(lambda: engine.health()["waiting"] == 4, within_seconds=10, what="four wait")
    full = engine.call("POST", "/v1/images/generations", long | {"steps": 1})
    assert full.status == 429 and full.error["code"] == "engine_busy" and full.headers["retry-after"]
    cancelled = engine.metric("requests_total", '{outcome="cancelled"}')
    for connection in (*waiting, working):
        connection.close()
    wait_until(
        lambda: not engine.health()["busy"] and not engine.health()["waiting"],
        within_seconds=10,
        what="nobody's work has ended",
    )
    assert engine.metric("requests_total", '{outcome="cancelled"}') == cancelled + 5
    assert draw(engines).data[0].b64_json


def test_requests_at_once_are_all_answered_and_health_is_told_meanwhile(engines: Engines) -> None:
    engine = engines[Kind.EMBEDDINGS]
    texts = [f"some longer text {number}" for number in range(64)]
    alone = engine.client().embeddings.create(model="tiny-embeddings", input=texts[0]).data[0].embedding
    told = threading.Event()

    def embed(_number: int) -> list[float]:
        answer = engine.client().embeddings.create(model="tiny-embeddings", input=texts)
        if engine.health()["ready"]:
            told.set()
        return list(answer.data[0].embedding)

    with ThreadPoolExecutor(4) as crowd:
        answers = list(crowd.map(embed, range(8)))
    assert told.is_set() and all(np.allclose(answer, alone, atol=2e-3) for answer in answers)
