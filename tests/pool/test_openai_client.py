"""The official client, the real pool and the real engine with the demo model, over real sockets."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import OpenAI

from tests.pool.conftest import Box
from tests.pool.real_engine import MODEL, engine_counts, engine_health, real_engine
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def served(shared_box: Box) -> Iterator[Box]:
    """The box with its real engine."""
    with real_engine(shared_box, "--slots", "4"):
        yield shared_box


@pytest.fixture
def client(served: Box) -> OpenAI:
    return served.openai()


def test_an_answer_and_its_stream_are_the_same_and_both_are_metered(served: Box, client: OpenAI) -> None:
    whole = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Who are you?"}], temperature=0
    )
    parts = list(
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Who are you?"}], temperature=0, stream=True
        )
    )
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text and text == whole.choices[0].message.content
    assert whole.usage is not None and all(part.usage is None for part in parts)
    lines = served.ledger(2, "model = ? AND endpoint LIKE '%chat%' AND outcome = 'answered'", MODEL)
    assert {(line["tokens_in"], line["tokens_out"]) for line in lines} == {
        (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    }


def test_the_model_is_listed_as_a_demo(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert (listed[MODEL].model_extra or {})["demo"] is True
    assert client.models.retrieve(MODEL).id == MODEL


def test_completions_and_embeddings_answer(client: OpenAI) -> None:
    completion = client.completions.create(model=MODEL, prompt="The appliance", max_tokens=8)
    assert completion.usage is not None and completion.usage.completion_tokens <= 8
    vectors = client.embeddings.create(model=MODEL, input=["one", "two"])
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 8


def test_tokens_arrive_one_by_one(client: OpenAI) -> None:
    stream = client.completions.create(
        model=MODEL, prompt="a", max_tokens=300, stream=True, extra_body={"ignore_eos": True}
    )
    times = [time.monotonic() for _ in stream]
    assert len(times) > 100
    assert times[1] - times[0] < (times[-1] - times[0]) / 4  # the second chunk long before the end


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError),
        ({"temperature": 7}, openai.BadRequestError),
        ({"messages": [{"role": "user", "content": "w " * 20_000}]}, openai.BadRequestError),
    ],
)
def test_refusals_are_the_clients_own_exceptions(
    client: OpenAI, given: dict[str, object], error: type[openai.APIStatusError]
) -> None:
    request: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    for stream in (False, True):
        with pytest.raises(error) as raised:
            client.chat.completions.create(**(request | given), stream=stream)  # type: ignore[call-overload]
        assert raised.value.code and raised.value.message


def test_a_wrong_key_is_an_authentication_error(served: Box) -> None:
    with pytest.raises(openai.AuthenticationError):
        served.openai("sk-cellule-wrong").models.list()


def test_the_clients_leaving_frees_the_engines_slot(served: Box, client: OpenAI) -> None:
    stream = client.completions.create(
        model=MODEL, prompt="a", max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    wait_until(lambda: engine_health(served)["busy"] == 0, within_seconds=2, what="the slot is free")


def test_many_clients_at_once_are_all_answered_and_counted(served: Box, client: OpenAI) -> None:
    started = threading.Barrier(12)

    def ask(number: int) -> int:
        started.wait()
        answer = client.completions.create(model=MODEL, prompt=f"{number} and", max_tokens=10, user="crowd")
        assert answer.usage is not None
        return answer.usage.completion_tokens

    before = engine_counts(served)
    with ThreadPoolExecutor(12) as crowd:
        tokens = list(crowd.map(ask, range(12)))
    assert engine_counts(served) - before == sum(tokens)
