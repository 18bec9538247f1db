"""The way through a node: unchanged, at once, and never lost without a word."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2 as httpx
import openai
import orjson
import pytest

from tests.pool.conftest import Box
from tests.pool.upstreams import Asked, ScriptedEngine, answer, never_answer
from tests.waiting import wait_until


def raw_request(box: Box, model: str, *, stream: bool = True) -> socket.socket:
    """A client that can do what no library does: not read, leave at any moment."""
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": "x"}], "stream": stream})
    client = socket.create_connection(("127.0.0.1", box.settings.port), timeout=10)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: box\r\nauthorization: Bearer {box.key.secret}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode() + body)
    return client


def in_background(call: Callable[[], httpx.Response]) -> "Future[httpx.Response]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def test_the_nodes_bytes_reach_the_client_unchanged(box: Box) -> None:
    odd = b'{ "id":1,\n "choices" : [],  "usage":{"prompt_tokens":2,"completion_tokens":1}, "x":"\\u00e9" }\n'

    async def oddly(asked: Asked) -> None:
        await asked.respond(200, odd, "application/json; charset=utf-8")

    box.engine("odd", behave=oddly)
    response = box.chat("odd")
    assert response.content == odd
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["x-cellule-node"] == "box"
    (line,) = box.ledger(1, "model = 'odd'")
    assert (line["tokens_in"], line["tokens_out"], line["outcome"]) == (2, 1, "answered")


def test_the_request_reaches_the_node_byte_for_byte(box: Box) -> None:
    engine = box.engine("exact")
    body = (
        b'{ "model" : "exact","messages":[{"role":"user","content":"\\u00e9\xc3\xa9"}] ,"temperature":0.50 }'
    )
    headers = {"authorization": f"Bearer {box.key.secret}", "x-request-id": "mine"}
    httpx.post(f"{box.url}/v1/chat/completions", content=body, headers=headers).raise_for_status()
    assert engine.asked[0].body == body
    assert set(engine.asked[0].headers) == {"host", "content-type", "content-length", "x-request-id"}


@pytest.mark.parametrize(
    "given", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}]
)
def test_usage_is_asked_of_the_node_and_kept_from_the_client(box: Box, given: dict[str, Any]) -> None:
    engine = box.engine("metered")
    response = box.chat("metered", stream=True, **given)
    assert engine.asked[-1].document["stream_options"]["include_usage"] is True
    assert response.text.endswith("data: [DONE]\n\n") and "usage" not in response.text
    assert response.text.count("data: ") == 4
    (line,) = box.ledger(1, "request_id = ?", response.headers["x-request-id"])
    assert (line["tokens_in"], line["tokens_out"]) == (7, 3)


def test_usage_is_asked_of_the_node_however_the_options_are_written(box: Box) -> None:
    """A later name of the same meaning would undo ours, and nobody would pay for the answer."""
    engine = box.engine("escaped")
    body = rb"""{"model":"escaped","messages":[{"role":"user","content":"x"}],"stream":true,%s}"""
    headers = {"authorization": f"Bearer {box.key.secret}"}
    for said in (rb'"stream\u005foptions":null', rb'"stream\u005foptions":{"include_usage":false}'):
        response = httpx.post(f"{box.url}/v1/chat/completions", content=body % said, headers=headers)
        assert response.status_code == 200 and "usage" not in response.text
        assert engine.asked[-1].document["stream_options"] == {"include_usage": True}


def test_usage_that_the_client_asked_for_reaches_it(box: Box) -> None:
    box.engine("wanted")
    response = box.chat("wanted", stream=True, stream_options={"include_usage": True})
    assert '"choices":[],"usage":{"prompt_tokens":7' in response.text


def test_the_second_chunk_arrives_before_the_answer_is_complete(box: Box) -> None:
    go_on = threading.Event()

    async def two_then_wait(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one")
        await asked.token("two")
        while not go_on.is_set():
            await asked.engine.pause()
        await asked.end_stream()

    box.engine("paced", behave=two_then_wait)
    stream = box.openai().chat.completions.create(
        model="paced", messages=[{"role": "user", "content": "x"}], stream=True
    )
    parts = iter(stream)
    assert [next(parts).choices[0].delta.content for _ in range(2)] == ["one", "two"]
    go_on.set()
    assert list(parts) == []


def refuse_with(status: int) -> Callable[[Asked], object]:
    async def refuse(asked: Asked) -> None:
        await asked.respond(status, {"error": {"message": "no"}})

    return refuse


async def reset_at_once(asked: Asked) -> None:
    asked.reset()


async def die_in_the_head(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    asked.reset()


async def die_before_the_first_event(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.write(b"20\r\ndata: {")
    asked.reset()


async def die_in_a_whole_answer(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    asked.reset()


async def speak_no_http(asked: Asked) -> None:
    await asked.write(b"what?\r\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "broken",
    [
        reset_at_once, die_in_the_head, die_before_the_first_event, die_in_a_whole_answer, speak_no_http,
        refuse_with(502), refuse_with(503),
    ],
)  # fmt: skip
def test_a_node_that_breaks_before_the_first_byte_is_replaced_unseen(
    box: Box, broken: Callable[[Asked], object], stream: bool
) -> None:
    number = len(box.workers)
    model = f"retried-{number}"
    bad = box.worker(f"bad-{number}", model=model, behave=broken, tokens_per_second=1000)
    good = box.worker(f"good-{number}", model=model, tokens_per_second=1)
    response = box.chat(model, stream=stream)
    assert response.status_code == 200 and "two" in response.text
    assert response.headers["x-cellule-node"] == good.name
    (line,) = box.ledger(1, "model = ?", model)
    assert (line["node"], line["attempts"], line["outcome"]) == (good.id, 2, "answered")
    assert len(bad.engine.asked) == 1


def test_a_nodes_name_reaches_the_client_in_any_script(box: Box) -> None:
    box.worker("Zoé's PC #1, 机", model="named")
    header = box.chat("named").headers["x-cellule-node"]
    assert header.isascii() and unquote(header) == "Zoé's PC #1, 机"


def test_a_node_that_refuses_connections_is_replaced_unseen(box: Box) -> None:
    bad = box.worker("down", model="down", tokens_per_second=1000)
    good = box.worker("up", model="down", tokens_per_second=1)
    bad.engine.stop()  # its agent still reports it ready
    assert box.chat("down").headers["x-cellule-node"] == good.name


def test_a_silent_nodes_unanswered_requests_are_answered_elsewhere(box: Box) -> None:
    quiet = box.worker("quiet", model="quiet", behave=never_answer, tokens_per_second=1000)
    waiting = in_background(lambda: box.chat("quiet"))
    wait_until(lambda: quiet.engine.busy == 1, within_seconds=3, what="the request is on the quiet node")
    other = box.worker("awake", model="quiet", tokens_per_second=1)
    quiet.fall_silent()
    response = waiting.result(timeout=10)
    assert response.headers["x-cellule-node"] == other.name
    wait_until(lambda: quiet.engine.busy == 0, within_seconds=3, what="the quiet node's request was closed")


def test_a_revoked_worker_is_cut_and_its_request_answered_elsewhere_within_two_seconds(box: Box) -> None:
    revoked = box.worker("revoked", model="revoked", behave=never_answer, tokens_per_second=1000)
    waiting = in_background(lambda: box.chat("revoked"))
    wait_until(lambda: revoked.engine.busy == 1, within_seconds=3, what="the request is on the worker")
    other = box.worker("stays", model="revoked", tokens_per_second=1)
    started = time.monotonic()
    revoked.revoke()
    assert waiting.result(timeout=10).headers["x-cellule-node"] == other.name
    assert time.monotonic() - started < 2


def test_after_the_first_token_a_broken_stream_ends_as_an_error(box: Box) -> None:
    async def die_in_the_middle(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        await asked.token("two ")
        await asked.write(b"40\r\ndata: {half an ev")
        await asked.engine.pause(0.2)
        asked.reset()

    box.engine("broken", behave=die_in_the_middle)
    stream = box.openai().chat.completions.create(
        model="broken", messages=[{"role": "user", "content": "x"}], stream=True
    )
    texts = []
    with pytest.raises(openai.APIError, match="broke off"):
        for part in stream:
            texts.append(part.choices[0].delta.content)
    assert texts == ["one ", "two "]
    (line,) = box.ledger(1, "model = 'broken'")
    assert (line["outcome"], line["status"], line["tokens_out"], line["attempts"]) == (
        "interrupted",
        200,
        2,
        1,
    )


def test_a_request_that_breaks_every_node_is_given_up(box: Box) -> None:
    for number in range(4):
        box.worker(f"fragile-{number}", model="poison", behave=reset_at_once)
    response = box.chat("poison")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "nodes_failed")
    assert int(response.headers["retry-after"]) > 0
    (line,) = box.ledger(1, "model = 'poison'")
    assert (line["outcome"], line["attempts"]) == ("failed", 3)


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_nodes_own_refusal_is_passed_on(box: Box, status: int) -> None:
    model = f"refusing-{status}"
    box.engine(model, behave=refuse_with(status))
    response = box.chat(model, stream=True)
    assert (response.status_code, response.json()) == (status, {"error": {"message": "no"}})
    (line,) = box.ledger(1, "model = ?", model)
    assert line["outcome"] == ("refused" if status < 500 else "failed")


def test_a_nodes_refusal_in_another_language_becomes_an_error_object(box: Box) -> None:
    async def apologise(asked: Asked) -> None:
        await asked.respond(500, b"<h1>Oops</h1>", "text/html")

    box.engine("html", behave=apologise)
    response = box.chat("html")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "bad_upstream_answer")


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_leaving_ends_the_nodes_work_at_once(box: Box, stream: bool) -> None:
    async def talk_forever(asked: Asked) -> None:
        if stream:
            await asked.begin_stream()
            while True:
                await asked.token("more ")
                await asked.engine.pause(0.05)
        await asked.until_client_left()

    model = f"talking-{stream}"
    engine = box.engine(model, behave=talk_forever)
    client = raw_request(box, model, stream=stream)
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the engine is at work")
    if stream:
        assert b"more" in client.recv(4096)
    left_at = time.monotonic()
    client.close()
    wait_until(lambda: engine.busy == 0, within_seconds=2, what="the engine is free", every_seconds=0.005)
    assert time.monotonic() - left_at < 0.5
    (line,) = box.ledger(1, "model = ?", model)
    assert (line["outcome"], line["status"]) == ("cancelled", 499)


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_a_client_that_does_not_read_slows_the_node_not_fills_the_memory(box: Box) -> None:
    sent = 0

    async def pour(asked: Asked) -> None:
        nonlocal sent
        await asked.begin_stream()
        piece = b"data: " + b"x" * 60_000 + b"\n\n"
        while sent < 300_000_000:
            await asked.chunk(piece)
            sent += len(piece)

    engine = box.engine("pouring", behave=pour)
    before = resident_megabytes(box.pool_pid)
    client = raw_request(box, "pouring")
    wait_until(lambda: sent > 500_000, within_seconds=5, what="the stream flows")

    def stands_still() -> bool:
        at = sent
        time.sleep(0.3)
        return sent == at

    wait_until(stands_still, within_seconds=10, what="the engine is held back")
    assert sent < 30_000_000  # the sockets' buffers on the way, no more
    assert resident_megabytes(box.pool_pid) - before < 5
    at = sent
    received = 0
    while received < 20_000_000:
        received += len(client.recv(1 << 20))
    wait_until(lambda: sent > at, within_seconds=5, what="the engine goes on when the client reads")
    client.close()
    wait_until(lambda: engine.busy == 0, within_seconds=3, what="the engine is free")


def test_a_kept_connection_that_the_node_closed_meanwhile_is_not_an_error(box: Box) -> None:
    async def answer_and_close(asked: Asked) -> None:
        await answer(asked)
        asked.writer.close()

    engine: ScriptedEngine = box.engine("closing", behave=answer_and_close)
    for _ in range(20):
        assert box.chat("closing").status_code == 200
    lines = box.ledger(20, "model = 'closing'")
    assert {line["attempts"] for line in lines} == {1} and len(engine.asked) == 20
