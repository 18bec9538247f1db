"""A worker redeems an invitation at a real box over TLS; nobody else can, and nobody twice."""

import base64
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.enrolment import (
    WorkerState,
    approve_worker,
    create_invitation,
    expire_invitations,
    list_invitations,
    list_workers,
    revoke_invitation,
    revoke_worker,
)
from appliance.enrolment.contract import STATUS_PATH, SUBMIT_PATH
from appliance.enrolment.invitation_code import parse_code
from appliance.enrolment.invitations import InvitationUsed, invitation_secret
from appliance.enrolment.pinned import BoxRefused, BoxUnreachable, pinned_post
from appliance.enrolment.records import InvitationState
from appliance.enrolment.redeeming import Approved, Pending, Revoked, poll_status, redeem
from tests.enrolment.conftest import FACTS, Box
from tests.enrolment.wire import Wire, wire

__all__ = ["wire"]


def test_from_code_to_config(box: Box) -> None:
    key = X25519PrivateKey.generate()
    joined = box.join(key=key)
    assert joined.pin == box.pin
    [worker] = list_workers(box.db)
    assert (worker.id, worker.name, worker.state) == (joined.worker_id, "PC", WorkerState.PENDING)
    assert worker.facts == FACTS
    assert worker.short_code == joined.short_code
    assert base64.b64decode(worker.public_key) == key.public_key().public_bytes_raw()

    ask = (joined.address, joined.pin, joined.worker_id, joined.poll_key)
    assert poll_status(*ask) == Pending()
    approve_worker(box.db, worker.id, approved_by=None, short_code=joined.short_code)
    answer = poll_status(*ask)
    assert isinstance(answer, Approved)
    config = answer.config
    assert str(config.tunnel_address) == "10.77.0.2" == list_workers(box.db)[0].tunnel_address
    assert config.endpoint == f"127.0.0.1:{box.settings.wireguard_port}"
    assert config.report_url == f"https://10.77.0.1:{box.settings.port}/enrol/report"
    assert [str(network) for network in config.allowed_ips] == ["10.77.0.1/32"]
    assert len(base64.b64decode(config.box_public_key)) == 32
    revoke_worker(box.db, worker.id)
    assert poll_status(*ask) == Revoked()


def test_of_twelve_at_once_one_gets_in(box: Box) -> None:
    code = box.invite()

    def try_it(_: int) -> str:
        try:
            return box.join(code).worker_id
        except BoxRefused as refused:
            assert (refused.status, refused.box_code) == (403, "invitation_refused")
            assert "already used" in refused.sentence
            return ""

    with ThreadPoolExecutor(12) as threads:
        outcomes = list(threads.map(try_it, range(12)))
    [winner] = filter(None, outcomes)
    assert [worker.id for worker in list_workers(box.db)] == [winner]
    [invitation] = list_invitations(box.db)
    assert (invitation.redeemed_by, invitation.state(time.time())) == (winner, InvitationState.REDEEMED)


def test_a_lost_answer_is_asked_for_again(box: Box, wire: Wire) -> None:
    code, key = box.invite(), X25519PrivateKey.generate()
    wire.lose = SUBMIT_PATH
    with pytest.raises(BoxUnreachable):
        box.join(code, key)
    [worker] = list_workers(box.db)
    again = box.join(code, key)
    assert again.worker_id == worker.id
    # both screens show what the last exchange gave
    assert [worker.short_code for worker in list_workers(box.db)] == [again.short_code]
    assert poll_status(again.address, again.pin, again.worker_id, again.poll_key) == Pending()


def test_a_repeat_after_the_decision_changes_nothing_that_was_compared(box: Box) -> None:
    code, key = box.invite(), X25519PrivateKey.generate()
    first = box.join(code, key)
    approved = approve_worker(box.db, first.worker_id, approved_by=None)
    again = box.join(code, key)
    assert list_workers(box.db) == [approved]
    assert isinstance(poll_status(again.address, again.pin, again.worker_id, again.poll_key), Approved)
    revoke_worker(box.db, first.worker_id)
    with pytest.raises(BoxRefused, match="was revoked"):
        box.join(code, key)


def test_a_replayed_submission_is_refused(box: Box, wire: Wire) -> None:
    joined = box.join()
    with pytest.raises(BoxRefused) as refused:
        pinned_post(box.address, joined.pin, SUBMIT_PATH, wire.last(SUBMIT_PATH))
    assert (refused.value.status, refused.value.box_code) == (403, "enrolment_denied")
    assert box.count("workers") == 1


def test_a_known_key_needs_no_second_invitation(box: Box) -> None:
    key = X25519PrivateKey.generate()
    box.join(key=key)
    with pytest.raises(BoxRefused, match="already belongs to a worker"):
        box.join(key=key)


def test_expired(box: Box) -> None:
    code = box.invite()
    box.db.execute("UPDATE invitations SET expires_at = ?", [time.time() - 1])
    with pytest.raises(BoxRefused, match="has expired"):
        box.join(code)
    assert expire_invitations(box.db) == 1
    assert expire_invitations(box.db) == 0
    with pytest.raises(BoxRefused, match="does not know"):
        box.join(code)
    assert box.count("workers") == 0


def test_revoked(box: Box) -> None:
    code = box.invite()
    [invitation] = list_invitations(box.db)
    for _ in range(2):
        revoke_invitation(box.db, invitation.id)
    assert invitation_secret(box.db, invitation.id) is None
    with pytest.raises(BoxRefused, match="does not know"):
        box.join(code)
    assert list_invitations(box.db)[0].state(time.time()) is InvitationState.REVOKED
    box.join()
    with pytest.raises(InvitationUsed):
        revoke_invitation(box.db, list_invitations(box.db)[0].id)


def test_the_secret_goes_when_nobody_needs_it(box: Box) -> None:
    joined = box.join()
    [invitation] = list_invitations(box.db)
    box.db.execute("UPDATE invitations SET expires_at = ?", [time.time() - 1])
    assert expire_invitations(box.db) == 0, "the answer may have been lost: the worker may ask again"
    approve_worker(box.db, joined.worker_id, approved_by=None)
    assert expire_invitations(box.db) == 1
    assert invitation_secret(box.db, invitation.id) is None


def test_nothing_secret_is_logged_or_stored_as_a_code(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = X25519PrivateKey.generate()
    new = create_invitation(box.db, box.settings, "PC", created_by=None)
    joined = box.join(new.code, key)
    poll_status(joined.address, joined.pin, joined.worker_id, joined.poll_key)
    secrets = [parse_code(new.code).secret, joined.poll_key, key.private_bytes_raw()]
    text = caplog.text + repr(new) + repr(joined)
    assert "redeemed by worker" in caplog.text
    for secret in secrets:
        for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret), new.code):
            assert form not in text
    dump = "\n".join(sqlite3.connect(box.settings.state_dir / "cellule.db").iterdump())
    assert new.code not in dump and key.private_bytes_raw().hex().upper() not in dump.upper()


def test_status_needs_the_poll_key(box: Box, wire: Wire) -> None:
    joined = box.join()
    for worker_id, poll_key in ((joined.worker_id, bytes(32)), ("0" * 16, joined.poll_key)):
        with pytest.raises(BoxRefused) as refused:
            poll_status(joined.address, joined.pin, worker_id, poll_key)
        assert refused.value.box_code == "enrolment_denied"
    assert joined.poll_key.hex().encode() not in wire.last(STATUS_PATH)


def test_a_silent_candidate_is_passed_over(box: Box) -> None:
    silent = ("127.0.0.1", 1)
    joined = redeem(box.invite(), X25519PrivateKey.generate(), FACTS, iter([silent, box.address]))
    assert joined.address == box.address
    with pytest.raises(BoxUnreachable, match="No box was found"):
        redeem(box.invite(), X25519PrivateKey.generate(), FACTS, [])
    with pytest.raises(BoxUnreachable, match="can't be reached"):
        redeem(box.invite(), X25519PrivateKey.generate(), FACTS, [silent])
