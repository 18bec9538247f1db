"""Bad input at /enrol/*: a clear refusal in JSON, never a 5xx, and the box goes on answering."""

import http.client
import socket
import ssl

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appliance.claim.certificate import ensure_certificate
from appliance.enrolment.contract import HELLO_PATH, REPORT_PATH, STATUS_PATH, SUBMIT_PATH, Hello
from appliance.enrolment.pinned import BoxBusy, BoxRefused, BoxUnreachable, pinned_post
from appliance.settings import Settings
from tests.enrolment.conftest import Box, serving

PATHS = (HELLO_PATH, SUBMIT_PATH, STATUS_PATH, REPORT_PATH)


def refusal(box: Box, path: str, body: bytes) -> tuple[int, str]:
    with pytest.raises(BoxRefused) as refused:
        pinned_post(box.address, box.pin, path, body)
    return refused.value.status, refused.value.box_code


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_message_is_refused(box: Box, path: str) -> None:
    for body in (b"", b"{", b"[]", b"null", b'{"a":1}', b"\xff\xfe", b"[" * 900):
        assert refusal(box, path, body) == (422, "message_refused")
    assert refusal(box, path, b'"' + b"x" * 300_000 + b'"') == (413, "request_too_large")


def test_other_paths_and_methods(box: Box) -> None:
    assert refusal(box, "/enrol/", b"{}") == (404, "not_found")
    assert refusal(box, "/enrol/hello/", b"{}") == (404, "not_found")
    context = ssl.create_default_context(cadata=(box.settings.secrets_dir / "tls.crt").read_text())
    connection = http.client.HTTPSConnection("localhost", box.settings.port, timeout=5, context=context)
    connection.request("GET", HELLO_PATH)
    response = connection.getresponse()
    assert (response.status, orjson.loads(response.read())["error"]["code"]) == (405, "method_not_allowed")
    connection.close()


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(PATHS),
    message=st.dictionaries(
        st.sampled_from(
            ["invitation_id", "public_key", "nonce", "challenge_id", "facts", "mac", "worker_id", "name"]
        ),
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(max_size=40).map(bytes.hex),
    ),
)
def test_any_message_is_answered_or_refused(box: Box, path: str, message: dict[str, object]) -> None:
    try:
        pinned_post(box.address, box.pin, path, orjson.dumps(message, default=str))
    except BoxRefused as refused:
        assert refused.status in (403, 413, 422)
    except BoxBusy as busy:
        assert busy.retry_after_seconds > 0
        assert path in (SUBMIT_PATH, STATUS_PATH, HELLO_PATH)
    except (TypeError, orjson.JSONEncodeError):
        return


def test_without_tls_nobody_can_join(settings: Settings) -> None:
    with serving(settings):
        connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=10)
        connection.request("POST", HELLO_PATH, b"{}", {"x-forwarded-proto": "https"})
        response = connection.getresponse()
        error = orjson.loads(response.read())["error"]
        connection.close()
        hello = Hello(invitation_id=bytes(4), public_key=bytes(32), nonce=bytes(16)).model_dump_json()
        with pytest.raises(BoxUnreachable):
            pinned_post(("127.0.0.1", settings.port), bytes(32), HELLO_PATH, hello)
    assert (response.status, error["code"]) == (403, "tls_required")
    assert "only over TLS" in error["message"]


@pytest.mark.parametrize("host", ["", ".", "a..b", "x" * 300, "no such host", "127.0.0.1\r\nx: y"])
def test_a_host_that_is_none_is_unreachable(host: str) -> None:
    with pytest.raises(BoxUnreachable):
        pinned_post((host, 8443), bytes(32), HELLO_PATH, b"{}")


def test_a_bug_is_said_and_logged_without_its_details(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a detail of the inside")

    monkeypatch.setattr("appliance.enrolment.reception.Challenges.give", broken)
    with pytest.raises(BoxBusy) as busy:
        box.join()
    assert busy.value.sentence == "The box could not answer; its log says why."
    assert "a detail of the inside" in caplog.text


def test_the_certificate_is_trusted_by_an_ordinary_client(box: Box) -> None:
    certificate = ensure_certificate(box.settings)
    context = ssl.create_default_context(cafile=certificate.cert_path)
    for name in ("localhost", "127.0.0.1", "cellule.local"):
        with (
            socket.create_connection(box.address, timeout=5) as raw,
            context.wrap_socket(raw, server_hostname=name) as secured,
        ):
            assert secured.version() == "TLSv1.3"
