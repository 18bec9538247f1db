"""The web service behind the pool: one origin, streamed both ways, and nobody is believed about addresses."""

from collections.abc import Callable, Iterator

import pytest

from tests.pool.conftest import Box
from tests.pool.upstreams import Asked, ScriptedEngine
from tests.waiting import wait_until


async def echo(asked: Asked) -> None:
    await asked.respond(200, {"path": asked.path, "headers": asked.headers, "size": len(asked.body)})


@pytest.fixture
def web(box: Box) -> Iterator[ScriptedEngine]:
    service = ScriptedEngine(box.settings.web_socket, behave=echo, answers_health=False).start()
    yield service
    service.stop()


def test_a_page_goes_through_with_query_and_cookies(box: Box, web: ScriptedEngine) -> None:
    seen = box.get("/workers/a%20b?x=1&y=%2F", cookie="a=1; b=2").json()
    assert seen["path"] == "/workers/a%20b?x=1&y=%2F"
    assert seen["headers"]["cookie"] == "a=1; b=2"


def test_what_a_client_says_about_addresses_is_dropped(box: Box, web: ScriptedEngine) -> None:
    seen = box.get(
        "/",
        **{
            "x-forwarded-for": "10.77.0.9",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "evil.example",
            "x-forwarded-prefix": "/evil",
            "forwarded": "for=10.77.0.9",
            "x-real-ip": "10.77.0.9",
        },
    ).json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == f"127.0.0.1:{box.settings.port}" == seen["host"]
    assert not {"forwarded", "x-real-ip", "x-forwarded-prefix"} & set(seen)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_goes_through_whole(box: Box, web: ScriptedEngine, chunked: bool) -> None:
    body = b"x" * 300_000
    content = iter([body[:1000], body[1000:]]) if chunked else body
    assert box.http.post(f"{box.url}/upload", content=content).json()["size"] == len(body)


def test_head_redirects_and_several_cookies_come_back(box: Box, web: ScriptedEngine) -> None:
    async def redirect(asked: Asked) -> None:
        await asked.write(
            b"HTTP/1.1 302 Found\r\nlocation: /there\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
            b"content-length: 0\r\n\r\n"
        )

    web.behave = redirect
    response = box.get("/")
    assert response.status_code == 302 and response.headers["location"] == "/there"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]

    async def head_only(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")

    web.behave = head_only
    response = box.http.head(f"{box.url}/page")
    assert response.status_code == 200 and response.headers["content-length"] == "500"


def test_an_answer_without_length_ends_with_its_connection(box: Box, web: ScriptedEngine) -> None:
    async def close_delimited(asked: Asked) -> None:
        await asked.write(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello ")
        await asked.write(b"there")
        asked.writer.close()

    web.behave = close_delimited
    assert box.get("/").text == "hello there"


def test_when_the_web_service_is_down_a_short_503_says_so(box: Box) -> None:
    box.settings.web_socket.unlink(missing_ok=True)
    response = box.get("/anything")
    assert response.status_code == 503 and response.headers["content-type"].startswith("text/plain")
    assert "not available" in response.text and int(response.headers["retry-after"]) > 0


def test_a_browser_that_leaves_ends_the_page(box: Box, web: ScriptedEngine) -> None:
    async def forever(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.chunk(b"data: 1\n\n")
        await asked.until_client_left()

    web.behave = forever
    with box.http.stream("GET", f"{box.url}/live") as response:
        parts = response.iter_raw()
        assert next(parts) == b"data: 1\n\n"
        assert web.busy == 1
    wait_until(lambda: web.busy == 0, within_seconds=3, what="the page is ended")


def test_the_pools_own_paths_never_reach_the_web_service(box: Box, web: ScriptedEngine) -> None:
    for path in ("/v1/models", "/v1/", "/health/live", "/health/ready", "/openapi.json", "/enrol/hello"):
        box.get(path)
    assert web.asked == []


def test_a_kept_connection_that_the_web_service_closed_meanwhile_is_not_an_error(
    box: Box, web: ScriptedEngine
) -> None:
    async def answer_and_close(asked: Asked) -> None:
        await echo(asked)
        asked.writer.close()

    web.behave = answer_and_close
    assert {box.get("/").status_code for _ in range(20)} == {200}


def test_over_tls_the_page_learns_that_it_was_https(start: Callable[..., Box]) -> None:
    box = start(tls=True)
    service = ScriptedEngine(box.settings.web_socket, behave=echo, answers_health=False).start()
    try:
        assert box.get("/").json()["headers"]["x-forwarded-proto"] == "https"
        assert box.get("/health/live").json() == {"live": True}
        assert box.get("/v1/models").status_code == 401
    finally:
        service.stop()
