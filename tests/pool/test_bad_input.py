"""Whatever arrives, the answer is an error object with the right status, and nothing stays held."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import orjson
import pytest

from appliance.errors import Refused
from appliance.pool.ask import read_ask
from appliance.pool.kinds import Endpoint
from tests.pool.conftest import Box
from tests.waiting import wait_until

GOOD = b'{"model":"sane","messages":[{"role":"user","content":"x"}]}'


@pytest.fixture
def sane(box: Box) -> Box:
    box.engine("sane")
    return box


def post(box: Box, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, dict[str, str]]:
    response = box.http.post(
        f"{box.url}{path}", content=body, headers={"authorization": f"Bearer {box.key.secret}"}
    )
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return response.status_code, error


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"not json", None),
        (b"[]", None),
        (b"null", None),
        (b'{"model":"sane","messages":[}', None),
        (b"{" * 50_000, None),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, None),
        (b'\xff\xfe{"model":"sane"}', None),
        (b"{}", "model"),
        (b'{"model":5,"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":"sane"}', "messages"),
        (b'{"model":"sane","messages":"x"}', "messages"),
        (b'{"model":"sane","messages":[]}', "messages"),
        (b'{"model":"sane","messages":[{"role":"user","content":5}]}', "messages"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"temperature":9}', "temperature"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"temperature":NaN}', "temperature"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"max_tokens":-1}', "max_tokens"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"max_tokens":1e999}', "max_tokens"),
        (b'{"model":"sane","messages":[{"role":"user","content":"x"}],"surprise":1}', "surprise"),
        (b'{"model":"sane","messages":[{"role":"user","content":"\\ud800"}]}', None),
    ],
)
def test_a_bad_body_is_400_and_names_the_field(sane: Box, body: bytes, param: str | None) -> None:
    asked = len(sane.engines[-1].asked)
    status, error = post(sane, body)
    assert (status, error["code"]) == (400, "invalid_request")
    assert (error["param"] or "").split(".")[0] == (param or (error["param"] or "").split(".")[0])
    assert len(sane.engines[-1].asked) == asked  # no node was troubled


def _many(path: Endpoint, before: bytes, one: bytes, after: bytes) -> tuple[Endpoint, bytes]:
    return path, b'{"model":"m",' + before + b",".join([one] * (2_000_000 // len(one))) + after


@pytest.mark.parametrize(
    ("path", "body"),
    [
        _many(Endpoint.CHAT, b'"messages":[', b"{}", b"]}"),
        _many(Endpoint.CHAT, b'"messages":[{"role":"user","content":[', b"{}", b"]}]}"),
        _many(Endpoint.CHAT, b'"messages":[{"role":"user","content":"x"}],"tools":[', b"{}", b"]}"),
        _many(Endpoint.EMBEDDINGS, b'"input":[', b"{}", b"]}"),
        _many(Endpoint.COMPLETIONS, b'"prompt":[', b"[null]", b"]}"),
        _many(Endpoint.RERANK, b'"query":"q","documents":[', b"{}", b"]}"),
    ],
)
def test_megabytes_that_are_all_wrong_are_refused_at_the_first(path: Endpoint, body: bytes) -> None:
    """Everybody's requests wait meanwhile."""
    began = time.process_time()
    with pytest.raises(Refused):
        read_ask(path, body)
    assert time.process_time() - began < 1.5  # telling each error took up to 20 s


@pytest.mark.parametrize("entries", [90_000, 5_000])
def test_so_are_many_names_that_are_wrong(entries: int) -> None:
    names = b",".join(b'"k%d":1' % number for number in range(entries))
    chat = b'{"model":"m","messages":[{"role":"user","content":"x"}],'
    for body in (chat + names + b"}", chat + b'"logit_bias":{' + names + b"}}"):
        began = time.process_time()
        with pytest.raises(Refused, match=r"too many|at most 4096"):
            read_ask(Endpoint.CHAT, body)
        assert time.process_time() - began < 1.5


def test_an_unknown_model_is_404_with_the_list(sane: Box) -> None:
    status, error = post(sane, GOOD.replace(b"sane", b"gpt-4"))
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "sane" in error["message"] and "gpt-4" in error["message"]


def test_a_large_body_is_413_whether_its_length_is_declared_or_not(sane: Box) -> None:
    large = b'{"model":"' + b"x" * sane.settings.body_limit_bytes + b'"}'
    assert post(sane, large)[0] == 413

    def in_chunks() -> object:
        yield from (large[i : i + 5000] for i in range(0, len(large), 5000))

    response = sane.http.post(
        f"{sane.url}/v1/chat/completions",
        content=in_chunks(),  # type: ignore[arg-type]
        headers={"authorization": f"Bearer {sane.key.secret}"},
    )
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/x", 405),
        ("OPTIONS", "/v1/embeddings", 405),
        ("POST", "/v1/images/edits", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/models/%2e%2e%2fetc", 404),
    ],
)
def test_wrong_paths_and_methods(sane: Box, method: str, path: str, status: int) -> None:
    headers = {"authorization": f"Bearer {sane.key.secret}"}
    response = sane.http.request(method, f"{sane.url}{path}", headers=headers)
    assert response.status_code == status and response.json()["error"]["code"]
    if status == 405:
        assert response.headers["allow"] in ("GET", "POST")


def wire(box: Box, *parts: bytes, pause: Callable[[], None] = lambda: None) -> bytes:
    """Sends raw bytes and returns all that comes back until the pool closes or falls silent."""
    with socket.create_connection(("127.0.0.1", box.settings.port), timeout=4) as client:
        received = b""
        with suppress(TimeoutError, BrokenPipeError):
            for part in parts:
                client.sendall(part)
                pause()
        with suppress(TimeoutError, ConnectionResetError):
            while data := client.recv(65536):
                received += data
        return received


def head(box: Box, *lines: str) -> bytes:
    return "\r\n".join(
        (
            "POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {box.key.secret}",
            "connection: close", *lines, "", "",
        )
    ).encode()  # fmt: skip


def test_a_body_that_never_ends_is_408_and_closed(sane: Box) -> None:
    started = time.monotonic()
    answer = wire(sane, head(sane, "content-length: 500"), b'{"mod')
    assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer
    assert time.monotonic() - started < 3


def test_a_body_in_drops_is_408_too(sane: Box) -> None:
    drops = [b" "] * 30
    answer = wire(sane, head(sane, "content-length: 500"), *drops, pause=lambda: time.sleep(0.05))
    assert b"408" in answer


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 5"],
        ["content-length: 5", "content-length: 6"],
        ["content-length: +5"],
        ["content-length: -1"],
        ["content-length: 99999999999999999999999"],
        ["transfer-encoding: xchunked"],
        ["transfer-encoding: chunked, identity"],
        ["content-length : 5"],
        ["bad header\x01: 5"],
        [" folded: 1"],
    ],
)
def test_a_request_whose_length_is_doubtful_is_refused_and_closed(sane: Box, lines: list[str]) -> None:
    asked = len(sane.engines[-1].asked)
    answer = wire(sane, head(sane, *lines) + b"0\r\n\r\n" + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1") == 1
    assert orjson.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] in ("invalid_http", "invalid_request")
    assert len(sane.engines[-1].asked) == asked


def test_a_head_without_end_is_refused(sane: Box) -> None:
    lines = [b"x-%d: %s\r\n" % (number, b"y" * 4000) for number in range(18)]
    answer = wire(sane, b"GET /v1/models HTTP/1.1\r\n" + b"".join(lines))
    assert answer.startswith(b"HTTP/1.1 400") and b"invalid_http" in answer


def test_a_request_id_of_the_client_is_echoed_and_kept_unique(sane: Box) -> None:
    for _ in range(2):
        response = sane.http.post(
            f"{sane.url}/v1/chat/completions",
            content=GOOD,
            headers={"authorization": f"Bearer {sane.key.secret}", "x-request-id": "again"},
        )
        assert response.headers["x-request-id"] == "again"
    lines = sane.ledger(2, "request_id LIKE 'again~%'")
    assert len({line["request_id"] for line in lines}) == 2
    wait_until(
        lambda: all(line["request_id"] in sane.log for line in lines), within_seconds=2, what="the log"
    )


@pytest.mark.parametrize("bad", ["x" * 101, "a b", "é", "<script>"])
def test_a_request_id_that_could_do_harm_is_replaced(sane: Box, bad: str) -> None:
    response = sane.http.get(
        f"{sane.url}/v1/models",
        headers=[(b"authorization", b"Bearer " + sane.key.secret.encode()), (b"x-request-id", bad.encode())],
    )
    assert response.headers["x-request-id"].startswith("req-")


def test_no_text_of_a_request_and_no_key_is_logged(sane: Box) -> None:
    answered = sane.chat("sane", "the-secret-prompt")
    post(sane, b'{"model":"sane","messages":"the-secret-prompt"}')
    sane.http.get(f"{sane.url}/v1/models", headers={"authorization": "Bearer the-secret-key"})
    line = sane.ledger(1, "request_id = ?", answered.headers["x-request-id"])[0]
    wait_until(lambda: line["request_id"] in sane.log, within_seconds=2, what="the request is logged")
    assert "the-secret" not in sane.log and sane.key.secret not in sane.log
