"""Our engine process before a real llama-server: it serves, is lost, comes back, is swapped for another."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from appliance.engines.adopted.finding import find_servers
from appliance.engines.adopted.servers import ServerKind
from tests.bench.llama_server import LlamaServer, llama_server
from tests.conftest import DEMO_MODEL, free_port
from tests.engines.adopted.wrong_server import Manners, WrongServer, wrong_server
from tests.engines.serving import RunningEngine, engine_process
from tests.waiting import wait_until

SLOTS = ("-np", "2", "-c", "4096", "-t", "1")
QUESTION = "What can you do?"


@contextmanager
def adopted(url: str, *settings: str, name: str = "office", ready: bool = True) -> Iterator[RunningEngine]:
    given = [word for setting in (f"url={url}", *settings) for word in ("--setting", setting)]
    arguments = ("--engine", "adopted", "--slots", "4", *given)
    with engine_process(None, *arguments, name=name, ready=ready) as engine:
        yield engine


@pytest.fixture(scope="module")
def station() -> Iterator[tuple[LlamaServer, RunningEngine]]:
    """A llama-server with the demo model under the name demo, and our engine before it."""
    with llama_server(DEMO_MODEL, *SLOTS, "--alias", "demo") as server, adopted(server.url) as engine:
        yield server, engine


def trouble(engine: RunningEngine, sentence: str) -> bool:
    health = engine.health()
    return not health["ready"] and sentence in health.get("trouble", "")


def test_it_takes_over_what_the_server_tells_and_what_was_measured(
    station: tuple[LlamaServer, RunningEngine],
) -> None:
    health = station[1].health()
    assert health["engine"] == "adopted" and health["sha256"] == "" and health["trouble"] == ""
    assert health["slots"] == 2, "four were wanted, and the server makes two at once"
    assert health["context_tokens"] == 2048
    assert health["tokens_per_second"] > 0
    assert len(health["fingerprint"].split(",")) == 4


def test_the_official_client_streams_through_it(station: tuple[LlamaServer, RunningEngine]) -> None:
    client = station[1].client()
    messages: Any = [{"role": "user", "content": QUESTION}]
    whole = client.chat.completions.create(model="office", messages=messages, temperature=0)
    stream = client.chat.completions.create(model="office", messages=messages, temperature=0, stream=True)
    chunks = list(stream)
    assert whole.model == "office" and {chunk.model for chunk in chunks} == {"office"}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text and text == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks), "nobody asked for it"


def test_answers_have_openais_fields_and_no_others(station: tuple[LlamaServer, RunningEngine]) -> None:
    answer = station[1].chat(QUESTION, max_tokens=3).json()
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}


def test_what_the_server_can_not_do_is_refused_by_its_name(
    station: tuple[LlamaServer, RunningEngine],
) -> None:
    reply = station[1].complete("a", echo=True)
    assert reply.status == 400 and reply.error["code"] == "parameter_not_offered"
    assert "llama-server" in reply.error["message"] and reply.error["param"] == "echo"


def test_a_server_that_is_killed_and_comes_back() -> None:
    port = free_port()
    with (
        llama_server(DEMO_MODEL, *SLOTS, "--alias", "demo", port=port) as server,
        adopted(server.url) as engine,
    ):
        mark = engine.health()["fingerprint"]
        server.kill()
        wait_until(lambda: trouble(engine, "not running"), within_seconds=15, what="its loss is told")
        with pytest.raises(openai.InternalServerError, match="not running") as refused:
            engine.client().completions.create(model="office", prompt="a")
        assert refused.value.code == "engine_starting" and refused.value.status_code == 503
        assert engine.process.poll() is None
        with llama_server(DEMO_MODEL, *SLOTS, "--alias", "demo", port=port):
            wait_until(lambda: engine.health()["ready"], within_seconds=40, what="it is taken back")
            assert engine.health()["fingerprint"] == mark
            assert engine.chat(QUESTION).status == 200


def test_another_model_under_the_same_name_is_not_taken(tiny_model: Path) -> None:
    port = free_port()
    with (
        llama_server(DEMO_MODEL, *SLOTS, "--alias", "demo", port=port) as server,
        adopted(server.url) as engine,
    ):
        mark = engine.health()["fingerprint"]
        server.kill()
        with llama_server(tiny_model, *SLOTS, "--alias", "demo", port=port) as swapped:
            wait_until(
                lambda: trouble(engine, "Another model answers under the name demo"),
                within_seconds=40,
                what="the other model is noticed",
            )
            assert engine.chat(QUESTION).status == 503
            swapped.kill()
        with llama_server(DEMO_MODEL, *SLOTS, "--alias", "demo", port=port):
            wait_until(
                lambda: engine.health()["ready"], within_seconds=40, what="the first one is taken back"
            )
            assert engine.health()["fingerprint"] == mark


def test_a_fingerprint_of_an_earlier_life_holds(station: tuple[LlamaServer, RunningEngine]) -> None:
    server, engine = station
    other = ",".join(f"9:{'a' * 12}" for _ in range(4))
    with adopted(server.url, f"fingerprint={other}", ready=False) as again:
        wait_until(
            lambda: trouble(again, "Another model answers"), within_seconds=40, what="it is not the same"
        )
    with adopted(server.url, f"fingerprint={engine.health()['fingerprint']}") as again:
        assert again.health()["ready"]


def test_a_server_that_claims_another_model_than_it_has() -> None:
    with (
        llama_server(DEMO_MODEL, *SLOTS, "--alias", "qwen3-8b") as server,
        adopted(server.url, name="qwen3-8b", ready=False) as engine,
    ):
        wait_until(
            lambda: trouble(engine, "shows 2.0 million weights: that is another model"),
            within_seconds=40,
            what="it is refused",
        )


def test_random_weights_are_garbage(tiny_model: Path) -> None:
    with (
        llama_server(tiny_model, *SLOTS, "--alias", "demo") as server,
        adopted(
            server.url, "prompt=Answer with one word: Who are you?", "expects=Cellule", ready=False
        ) as engine,
    ):
        wait_until(lambda: trouble(engine, "It answers garbage"), within_seconds=40, what="it is refused")


def test_a_question_of_which_the_answer_is_known(station: tuple[LlamaServer, RunningEngine]) -> None:
    known = ("prompt=Who are you?", "expects=cellule")
    with adopted(station[0].url, *known) as engine:
        assert engine.health()["ready"]


def test_a_second_model_has_to_be_named() -> None:
    with wrong_server() as server, adopted(server.url, "model=none", ready=False) as engine:
        wait_until(
            lambda: trouble(engine, "does not list the model none, only: house-8b"),
            within_seconds=40,
            what="it is refused",
        )


# --- in use -------------------------------------------------------------------------------------------


@pytest.fixture
def house() -> Iterator[tuple[WrongServer, RunningEngine]]:
    """A server whose manners a test changes after it was adopted."""
    with wrong_server() as server, adopted(server.url) as engine:
        yield server, engine


def test_the_server_is_asked_in_its_own_words(house: tuple[WrongServer, RunningEngine]) -> None:
    server, engine = house
    server.asked.clear()
    assert engine.chat("hi", user="ada", metadata={"a": "b"}, max_completion_tokens=5).status == 200
    [asked] = server.asked
    assert asked == {
        "model": "house-8b",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }


def test_a_stream_that_breaks_off_is_cut_and_not_ended(house: tuple[WrongServer, RunningEngine]) -> None:
    server, engine = house
    server.manners.breaks_off = True
    body = {"model": "office", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with engine.raw("/v1/chat/completions", body) as connection:
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b'"content":"A"' in received, "what came was passed on"
    assert b"[DONE]" not in received and not received.endswith(b"0\r\n\r\n")


def test_a_client_that_leaves_ends_the_servers_work(house: tuple[WrongServer, RunningEngine]) -> None:
    server, engine = house
    server.manners.words = tuple(f"word{number}" for number in range(2000))
    body = {"model": "office", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    connection = engine.raw("/v1/chat/completions", body)
    assert connection.recv(4096)
    connection.close()
    assert server.closed_early.wait(10), "the server went on for nobody"


def test_a_server_that_forgets_its_usage_is_not_passed_on(house: tuple[WrongServer, RunningEngine]) -> None:
    server, engine = house
    server.manners.tells_usage = False
    reply = engine.chat("hi")
    assert reply.status == 502 and reply.error["code"] == "adopted_server_failed"


def test_a_model_that_disappears_from_the_list_is_not_served(
    house: tuple[WrongServer, RunningEngine],
) -> None:
    server, engine = house
    server.manners.model = "house-70b"
    wait_until(lambda: not engine.health()["ready"], within_seconds=30, what="it is noticed")
    wait_until(lambda: trouble(engine, "does not list"), within_seconds=30, what="it is told")
    server.manners.model = "house-8b"
    wait_until(lambda: engine.health()["ready"], within_seconds=40, what="it is taken back")


def test_a_server_that_hangs_is_told_and_one_that_lives_again_is_taken(
    house: tuple[WrongServer, RunningEngine],
) -> None:
    server, engine = house
    server.manners.silent = True
    wait_until(lambda: trouble(engine, "does not answer"), within_seconds=40, what="it is told")
    server.manners.silent = False
    wait_until(lambda: engine.health()["ready"], within_seconds=40, what="it is taken back")


# --- finding ------------------------------------------------------------------------------------------


def test_servers_are_found_and_our_own_engine_is_not_one(
    station: tuple[LlamaServer, RunningEngine],
) -> None:
    server, engine = station
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        wrong_server(Manners(wanted_key="k")) as keyed,
        wrong_server() as plain,
    ):
        ports = [server.port, engine.port, mute.getsockname()[1], keyed.port, plain.port, free_port()]
        found = {one.port: one.found for one in asyncio.run(find_servers(ports))}
    assert set(found) == {server.port, keyed.port, plain.port}
    assert found[server.port].kind is ServerKind.LLAMA_SERVER and found[server.port].slots == 2
    [claim] = found[server.port].models
    assert (claim.id, claim.context_tokens, claim.parameters) == ("demo", 2048, 1968320)
    assert found[keyed.port].needs_key
    assert found[plain.port].kind is ServerKind.OTHER


def test_metrics_and_health_can_be_asked_while_it_is_not_ready() -> None:
    with adopted(f"http://127.0.0.1:{free_port()}", ready=False) as engine:
        wait_until(lambda: trouble(engine, "not running"), within_seconds=40, what="it is told")
        assert engine.call("GET", "/health/live").json() == {"live": True}
        reply = engine.call("GET", "/health/ready")
        assert reply.status == 503 and json.loads(reply.body)["engine"] == "adopted"
        assert b"cellule_engine_requests" in engine.call("GET", "/metrics").body
