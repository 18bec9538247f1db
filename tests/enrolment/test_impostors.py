"""Whoever is not the box gets no byte; whoever has no invitation gets in nowhere and learns nothing."""

import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.claim.certificate import ensure_certificate
from appliance.enrolment.challenges import MOST_OPEN, VALID_SECONDS, Challenges
from appliance.enrolment.contract import HELLO_PATH, SUBMIT_PATH, Challenge, Hello, Submission
from appliance.enrolment.invitation_code import format_code, parse_code
from appliance.enrolment.pinned import (
    Address,
    BoxBusy,
    BoxNotTrusted,
    BoxRefused,
    BoxUnreachable,
    pinned_post,
)
from appliance.enrolment.reception import EnrolmentDenied, Reception
from appliance.enrolment.redeeming import redeem
from appliance.enrolment.wrong_attempts import ALLOWED, WINDOW_SECONDS, TooManyWrongAttempts, WrongAttempts
from appliance.settings import Settings
from appliance.storage import open_activity
from tests.enrolment.conftest import FACTS, Box
from tests.enrolment.test_exchange import LOW_ORDER
from tests.enrolment.wire import Change, Wire, wire

__all__ = ["wire"]


@contextmanager
def rogue_box(folder: Path, received: list[bytes]) -> Iterator[Address]:
    """A TLS server with a certificate of its own; `received` gets what the client sends inside TLS."""
    certificate = ensure_certificate(Settings(state_dir=folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_path, certificate.key_path)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, context.wrap_socket(connection, server_side=True) as secured:
                secured.settimeout(5)
                while chunk := secured.recv(65536):
                    received.append(chunk)
                received.append(b"")

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_rogue_box_gets_no_byte(box: Box, tmp_path: Path) -> None:
    received: list[bytes] = []
    with rogue_box(tmp_path / "rogue", received) as address:
        with pytest.raises(BoxNotTrusted):
            redeem(box.invite(), X25519PrivateKey.generate(), FACTS, [address])
        with pytest.raises(BoxNotTrusted):
            # of a rogue and a silent candidate the rogue is what the person must hear of
            redeem(box.invite(), X25519PrivateKey.generate(), FACTS, [address, ("127.0.0.1", 1)])
        joined = redeem(box.invite(), X25519PrivateKey.generate(), FACTS, [address, box.address])
        assert joined.address == box.address
    # three connections ended after the handshake with nothing said
    assert received == [b"", b"", b""]


def test_a_box_with_half_of_the_right_pin_is_not_the_box(box: Box) -> None:
    wrong_end = box.pin[:16] + bytes(16)
    with pytest.raises(BoxNotTrusted):
        pinned_post(box.address, wrong_end, HELLO_PATH, b"{}")
    with pytest.raises(ValueError, match="at least 16"):
        pinned_post(box.address, box.pin[:15], HELLO_PATH, b"{}")


def test_a_box_that_does_not_know_the_secret_is_found_out(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same certificate key, but it can only say yes."""
    monkeypatch.setattr("appliance.enrolment.reception.box_proof", lambda *_: bytes(32))
    with pytest.raises(BoxNotTrusted, match="could not prove"):
        box.join()


def test_plain_http_is_no_box(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")).start()
        with pytest.raises(BoxUnreachable):
            pinned_post(listener.getsockname(), box.pin, HELLO_PATH, b"{}")


@pytest.mark.parametrize("field", ["secret", "id"])
def test_a_wrong_secret_and_an_unknown_invitation_are_answered_alike(box: Box, field: str) -> None:
    code = parse_code(box.invite())
    wrong = replace(code, **{field: bytes(len(getattr(code, field)))})
    with pytest.raises(BoxRefused) as refused:
        box.join(format_code(wrong))
    assert refused.value.status == 403
    assert refused.value.box_code == "enrolment_denied"
    assert refused.value.sentence == (
        "The box does not know this invitation or worker. An invitation can be used once and for a short"
        " time: ask the admin for a new one."
    )
    assert box.count("workers") == 0
    box.join(format_code(code))


def change_facts(path: str, message: dict[str, Any]) -> None:
    if path == SUBMIT_PATH:
        message["facts"] = message["facts"].replace("pc-lab-3", "the-boss")


def change_key(path: str, message: dict[str, Any]) -> None:
    if path == HELLO_PATH:
        message["public_key"] = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()


def change_nonce(path: str, message: dict[str, Any]) -> None:
    if path == HELLO_PATH:
        message["nonce"] = "00" * 16


def change_mac(path: str, message: dict[str, Any]) -> None:
    if path == SUBMIT_PATH:
        message["mac"] = f"{int(message['mac'], 16) ^ 1:064x}"


@pytest.mark.parametrize("change", [change_facts, change_key, change_nonce, change_mac])
def test_what_is_changed_on_the_way_is_refused(box: Box, wire: Wire, change: Change) -> None:
    code = box.invite()
    wire.change = change
    with pytest.raises(BoxRefused) as refused:
        box.join(code)
    assert refused.value.box_code == "enrolment_denied"
    assert box.count("workers") == 0
    wire.change = None
    box.join(code)


@pytest.mark.parametrize("key", LOW_ORDER[:3], ids=lambda key: key.hex()[:6])
def test_a_key_of_low_order_is_refused(box: Box, key: bytes) -> None:
    hello = Hello(invitation_id=parse_code(box.invite()).id, public_key=key, nonce=bytes(16))
    answer = pinned_post(box.address, box.pin, HELLO_PATH, hello.model_dump_json())
    challenge = Challenge.model_validate_json(answer.body)
    submission = Submission(challenge_id=challenge.challenge_id, facts="{}", mac=bytes(32))
    with pytest.raises(BoxRefused) as refused:
        pinned_post(box.address, box.pin, SUBMIT_PATH, submission.model_dump_json())
    assert refused.value.box_code == "enrolment_denied"


def test_a_machine_that_is_wrong_too_often_has_to_wait(box: Box) -> None:
    good = box.invite()
    wrong = format_code(replace(parse_code(good), secret=bytes(16)))
    for _ in range(ALLOWED):
        with pytest.raises(BoxRefused):
            box.join(wrong)
    with pytest.raises(BoxBusy) as busy:
        box.join(good)
    assert 0 < busy.value.retry_after_seconds <= WINDOW_SECONDS + 1


def test_wrong_attempts_are_counted_per_address_and_forgotten() -> None:
    attempts = WrongAttempts()
    for second in range(ALLOWED):
        attempts.check("10.0.0.5", second)
        attempts.count("10.0.0.5", second)
    with pytest.raises(TooManyWrongAttempts) as refused:
        attempts.check("10.0.0.5", 20)
    assert refused.value.retry_after_seconds == WINDOW_SECONDS - 20
    attempts.check("10.0.0.6", 20)
    attempts.check("10.0.0.5", WINDOW_SECONDS)
    for number in range(10_000):
        attempts.count(f"fd00::{number:x}", 20)
    assert len(attempts._moments) <= 4096


def test_a_challenge_is_good_once_and_for_half_a_minute() -> None:
    challenges = Challenges()
    hello = Hello(invitation_id=bytes(4), public_key=bytes(32), nonce=bytes(16))
    given = challenges.give(hello, at=0)
    taken = challenges.take(given.challenge_id, at=VALID_SECONDS - 1)
    assert taken is not None and taken.hello == hello
    assert challenges.take(given.challenge_id, at=VALID_SECONDS - 1) is None
    late = challenges.give(hello, at=0)
    assert challenges.take(late.challenge_id, at=VALID_SECONDS) is None
    first = challenges.give(hello, at=1)
    for _ in range(MOST_OPEN):
        challenges.give(hello, at=1)
    assert challenges.take(first.challenge_id, at=1) is None
    assert len(challenges._open) <= MOST_OPEN


def test_an_unknown_invitation_costs_the_box_the_same_work(box: Box) -> None:
    reception = Reception(
        box.db,
        open_activity(box.settings.state_dir),
        pin=box.pin,
        box_public_key="",
        wireguard_port=51820,
        report_port=8443,
        endpoints=dict,
    )
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    known, spent = parse_code(box.invite()).id, {True: list[float](), False: list[float]()}
    for turn in range(200):
        exists = turn % 2 == 0
        address = f"192.0.2.{turn}"
        hello = Hello(invitation_id=known if exists else bytes(4), public_key=key, nonce=bytes(16))
        challenge = reception.hello(hello, address)
        submission = Submission(challenge_id=challenge.challenge_id, facts="{}", mac=bytes(32))
        started = time.perf_counter()
        with pytest.raises(EnrolmentDenied):
            reception.submit(submission, address)
        spent[exists].append(time.perf_counter() - started)
    # the quicker half: what else the machine does shall not count
    ratio = statistics.quantiles(spent[True])[0] / statistics.quantiles(spent[False])[0]
    assert 0.7 < ratio < 1.4
