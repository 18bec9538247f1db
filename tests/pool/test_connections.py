"""What HTTP/1.1 allows a client to do with its connection, the pool serves."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import orjson
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from appliance.pool import server
from appliance.pool.client import Client
from tests.pool.conftest import Box
from tests.pool.upstreams import never_answer
from tests.waiting import wait_until


@pytest.fixture
def client(box: Box) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", box.settings.port), timeout=5)) as connection:
        yield connection


def request(box: Box, model: str, *headers: str, version: str = "1.1") -> bytes:
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}'
    lines = [
        f"POST /v1/chat/completions HTTP/{version}",
        "host: box",
        f"authorization: Bearer {box.key.secret}",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join((*lines, "", body)).encode()


def answers(client: socket.socket, number: int) -> list[bytes]:
    """Each answer's head, once `number` whole ones came."""
    received = b""
    heads: list[bytes] = []
    while len(heads) < number:
        head, found, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if found and length and len(rest) >= int(length[1]):
            heads.append(head)
            received = rest[int(length[1]) :]
            continue
        data = client.recv(65536)
        assert data, received
        received += data
    assert not received
    return heads


def test_requests_sent_at_once_are_answered_in_their_order(box: Box, client: socket.socket) -> None:
    box.engine("early")
    names = [f"x-request-id: n{number}" for number in range(4)]
    client.sendall(
        request(box, "early", names[0])
        + request(box, "nobody-has-it", names[1])
        + f"GET /health/live HTTP/1.1\r\nhost: box\r\n{names[2]}\r\n\r\n".encode()
        + request(box, "early", names[3])
    )
    heads = answers(client, 4)
    assert [head.split()[1] for head in heads] == [b"200", b"404", b"200", b"200"]
    assert [b"x-request-id: n%d" % number in heads[number] for number in (0, 1, 3)] == [True] * 3


def test_an_answer_to_head_has_no_body_that_the_next_would_be_taken_for(
    box: Box, client: socket.socket
) -> None:
    box.engine("looked-at")
    asked = []
    for path in ("models", "models/looked-at", "models/nobody", "chat/completions"):
        asked.append(f"HEAD /v1/{path} HTTP/1.1\r\nauthorization: Bearer {box.key.secret}\r\n\r\n")
    client.sendall("".join(asked).encode() + b"HEAD /v1/models HTTP/1.1\r\n\r\n")
    client.sendall(request(box, "looked-at", "connection: close"))
    received = b"".join(iter(lambda: client.recv(65536), b""))
    *heads, last, body = received.split(b"\r\n\r\n")
    statuses = [int(head.removeprefix(b"HTTP/1.1 ")[:3]) for head in heads]
    assert statuses == [200, 200, 404, 405, 401] and last.startswith(b"HTTP/1.1 200 ")
    assert orjson.loads(body)["choices"]


def test_who_leaves_with_a_request_in_waiting_ends_the_running_one(box: Box, client: socket.socket) -> None:
    engine = box.engine("waited", behave=never_answer)
    client.sendall(request(box, "waited") * 2)
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the first is on the engine")
    client.close()
    wait_until(lambda: engine.busy == 0 and engine.left == 1, within_seconds=2, what="the engine is free")
    assert len(engine.asked) == 1


def test_a_client_that_asks_first_is_told_to_go_on(box: Box, client: socket.socket) -> None:
    box.engine("polite")
    head, _, body = request(box, "polite", "expect: 100-continue").partition(b"\r\n\r\n")
    client.sendall(head + b"\r\n\r\n")
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(body)
    assert answers(client, 1)[0].startswith(b"HTTP/1.1 200")


def test_a_connection_is_kept_unless_the_client_wants_it_closed(box: Box, client: socket.socket) -> None:
    box.engine("kept")
    for _ in range(3):
        client.sendall(request(box, "kept"))
        assert b"connection: close" not in answers(client, 1)[0]
    client.sendall(request(box, "kept", "connection: close"))
    assert b"connection: close" in answers(client, 1)[0]
    assert client.recv(100) == b""


def test_an_old_client_is_answered_and_closed(box: Box, client: socket.socket) -> None:
    box.engine("old")
    client.sendall(request(box, "old", version="1.0"))
    assert b"connection: close" in answers(client, 1)[0]
    assert client.recv(100) == b""


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /v1/chat/comp", id="half a head"),
        pytest.param(b"GET /v1/x HTTP/1.1\r\nhost: box\r\n\r\n", id="nothing after an answer"),
        pytest.param(b"GET /v1/x HTTP/1.1\r\nhost: box\r\n\r\nGET /v1", id="half a head after an answer"),
    ],
)
def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.2)

    async def api(client: Client) -> None:
        await asyncio.sleep(0.3)  # longer than a connection may wait for a request
        client.answer(200, [], b"done")

    async def never(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError

    async def talk() -> bytes:
        config = Config(never, ws="none", interface="asgi3", log_config=None)
        config.load()
        config.loaded_app = SimpleNamespace(api=api)
        config.timeout_keep_alive = 0.2  # type: ignore[assignment]
        listening = await asyncio.get_running_loop().create_server(
            lambda: server.PoolProtocol(config, ServerState(), {}), "127.0.0.1"
        )
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(sent)
        async with asyncio.timeout(3):
            return await reader.read()

    started = time.monotonic()
    received = asyncio.run(talk())
    assert received.endswith(b"done") if b"\r\n\r\n" in sent else received == b""
    assert time.monotonic() - started >= 0.2
