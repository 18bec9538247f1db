"""Rerank, transcription and images through the real pool: the official client, real engines, real counts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import openai
import pytest
from openai import OpenAI

from appliance.engines.options import Kind
from appliance.pool.kinds import Endpoint, refuse_other_kind
from tests.engines.kinds import sound_file
from tests.models.tiny import tiny_openvino
from tests.pool.conftest import ROOT, Box

pytestmark = pytest.mark.timeout(600)  # the first run sets up the converter and converts
KINDS = (Kind.EMBEDDINGS, Kind.RERANK, Kind.TRANSCRIPTION, Kind.IMAGES)


@contextmanager
def engine_on_the_box(box: Box, kind: Kind) -> Iterator[None]:
    """The engine of a tiny model, on one of the box's sockets; the pool uses it when the block begins."""
    name = f"tiny-{kind}"
    socket = box.settings.engine_socket(name)
    command = [sys.executable, "-m", "appliance.engines", "--model", str(tiny_openvino(kind)), "--name", name]
    command += ["--engine", "openvino", "--kind", kind.value, "--listen", f"unix:{socket}"]
    with (box.settings.state_dir / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
    try:
        box.wait_for_model(name, within_seconds=90)
        yield
    finally:
        process.terminate()
        process.wait(15)
        socket.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def served(shared_box: Box) -> Iterator[Box]:
    with ExitStack() as stack:
        for kind in KINDS:
            stack.enter_context(engine_on_the_box(shared_box, kind))
        yield shared_box


@pytest.fixture
def client(served: Box) -> OpenAI:
    return served.openai()


def counted(box: Box, model: str) -> tuple[int, int, str]:
    """(tokens in, tokens out, endpoint) of the model's one answered request."""
    [line] = box.ledger(1, "model = ? AND outcome = 'answered'", model)
    return line["tokens_in"], line["tokens_out"], line["endpoint"]


def test_a_transcription_passes_as_it_is_and_is_metered(served: Box, client: OpenAI) -> None:
    text = client.audio.transcriptions.create(
        model="tiny-transcription",
        file=("a.flac", sound_file(3, "FLAC")),
        response_format="srt",
        language="en",
    )
    assert isinstance(text, str) and text.startswith("1\n00:00:")
    tokens_in, tokens_out, endpoint = counted(served, "tiny-transcription")
    assert (tokens_in, endpoint) == (1500, "/v1/audio/transcriptions") and tokens_out > 0


def test_a_reranking_is_metered(served: Box) -> None:
    answer = served.http.post(
        f"{served.url}/v1/rerank",
        json={"model": "tiny-rerank", "query": "what?", "documents": ["a", "b b", "c c c"], "top_n": 2},
        headers={"authorization": f"Bearer {served.key.secret}"},
    )
    assert answer.status_code == 200 and len(answer.json()["results"]) == 2
    assert counted(served, "tiny-rerank") == (answer.json()["usage"]["total_tokens"], 0, "/v1/rerank")


def test_an_image_is_metered_by_its_squares(served: Box, client: OpenAI) -> None:
    answer = client.images.generate(
        model="tiny-images", prompt="a cat", size="64x64", extra_body={"steps": 1}
    )
    assert answer.data and answer.data[0].b64_json
    assert answer.usage is not None and counted(served, "tiny-images") == (
        answer.usage.input_tokens,
        16,
        "/v1/images/generations",
    )


def test_what_each_model_is_for_is_listed(client: OpenAI) -> None:
    listed = {model.id: model.model_dump().get("kind") for model in client.models.list()}
    assert {name: kind for name, kind in listed.items() if kind} == {f"tiny-{kind}": kind for kind in KINDS}


def test_vectors_come_through(served: Box, client: OpenAI) -> None:
    answer = client.embeddings.create(model="tiny-embeddings", input=["one", "two"])
    assert len(answer.data[0].embedding) == 32
    assert counted(served, "tiny-embeddings") == (answer.usage.prompt_tokens, 0, "/v1/embeddings")


def test_a_model_of_another_kind_is_refused_with_those_that_would_do(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model="tiny-transcription", messages=[{"role": "user", "content": "hello"}]
        )
    assert raised.value.code == "wrong_kind_of_model" and raised.value.param == "model"
    assert "writes down what is said in a sound" in raised.value.message
    with pytest.raises(openai.BadRequestError) as raised:
        client.embeddings.create(model="tiny-images", input="x")
    assert "tiny-embeddings" in raised.value.message


def test_bad_sounds_are_refused_before_any_node_is_troubled(served: Box, client: OpenAI) -> None:
    def refused(**given: object) -> openai.APIStatusError:
        request: dict[str, object] = {"model": "tiny-transcription", "file": ("a.wav", sound_file(1))}
        with pytest.raises(openai.APIStatusError) as raised:
            client.audio.transcriptions.create(**(request | given))  # type: ignore[call-overload]
        return raised.value

    assert refused(model="whisper-9").code == "model_not_found"
    assert refused(temperature=7).param == "temperature"
    assert refused(stream=True).param == "stream"
    assert refused(file=("a.wav", b"x" * (27 * 1024 * 1024))).status_code == 413
    broken = served.http.post(
        f"{served.url}/v1/audio/transcriptions",
        content=b"--x\r\ncontent-disposition: form-data; name=model\r\n\r\nabc",
        headers={
            "authorization": f"Bearer {served.key.secret}", "content-type": "multipart/form-data; boundary=x"
        },
    )  # fmt: skip
    assert broken.json()["error"]["code"] == "invalid_form"
    assert refused(file=("a.wav", b"no sound")).code == "audio_unreadable"


def test_the_rule_names_what_a_model_is_for() -> None:
    kinds = {"writer": Kind.TEXT, "ear": Kind.TRANSCRIPTION}
    assert refuse_other_kind("writer", Endpoint.CHAT, kinds) is None
    assert refuse_other_kind("unknown", Endpoint.CHAT, kinds) is None
    refusal = refuse_other_kind("ear", Endpoint.CHAT, kinds)
    assert refusal is not None and refusal.next_step == "For /v1/chat/completions there is: writer."
    refusal = refuse_other_kind("writer", Endpoint.IMAGES, kinds)
    assert refusal is not None and "no model here yet" in refusal.next_step
