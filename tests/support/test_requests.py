"""Whose request opens a session, when, and how often: consent can't be had with a forged, old or used one."""

import base64
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from appliance.errors import Refusal
from appliance.host import HostFailed, SupportPlan
from appliance.host.simulated import SimulatedHost
from appliance.people import Account, audit_lines
from appliance.settings import Settings
from appliance.support import (
    Ending,
    NoVendor,
    RequestOutOfTime,
    SessionRefused,
    cut_session,
    open_now,
    open_session,
    past_sessions,
    settle_session,
)
from appliance.support.request import (
    REQUEST_END,
    REQUEST_HEAD,
    RequestNotTrusted,
    RequestUnreadable,
    read_answer,
    read_request,
)
from appliance.support.sessions import RequestUsed, Session, SessionOpenAlready
from appliance.support.trust import load_vendor
from appliance.support.vendor import make_request, make_vendor_keys
from tests.support.conftest import ENDPOINT, REASON

HOUR_SECONDS = 3600.0


class Box:
    """The admin's side, with a clock that tests set."""

    def __init__(self, db: Database, activity: Database, settings: Settings, ana: Account) -> None:
        self.db, self.activity, self.settings, self.ana = db, activity, settings, ana
        self.now = time.time()
        self.host = SimulatedHost(settings.wireguard_key_path, settings.host_dir, clock=lambda: self.now)

    def open(self, text: str, hours: int = 1, reason: str = REASON) -> Session:
        return open_session(
            self.db,
            self.activity,
            self.host,
            self.settings,
            text=text,
            hours=hours,
            reason=reason,
            admin=self.ana,
            address="10.99.0.9",
            clock=lambda: self.now,
        )

    def settle(self) -> str:
        return settle_session(self.db, self.activity, self.host, clock=lambda: self.now)

    def trail(self) -> list[str]:
        return [line.event for line in reversed(audit_lines(self.activity))]


@pytest.fixture
def box(db: Database, activity: Database, settings: Settings, ana: Account) -> Box:
    return Box(db, activity, settings, ana)


def a_request(vendor: Path, **options: object) -> str:
    return make_request(vendor, engineer="Vera", endpoint=ENDPOINT, **options)[1]  # type: ignore[arg-type]


def test_a_session_is_open_until_its_end_and_recorded(box: Box, vendor: Path) -> None:
    request, text = make_request(vendor, engineer="Vera", endpoint=ENDPOINT)
    session = box.open(f"Hello Ana,\n\n> please paste this:\n{text}\nBest, Vera", hours=4)
    assert open_now(box.db) == session
    assert session.until - session.opened_at == 4 * HOUR_SECONDS
    assert box.host.support_status().until == session.until
    assert read_answer(f"Dear Vera: {session.answer} ", request.id) == box.host.support_status().public_key
    assert box.settle() == ""
    box.now += 4 * HOUR_SECONDS
    assert box.settle() == "the support session is over"
    assert open_now(box.db) is None
    assert not box.host.support_status().open
    [past] = past_sessions(box.db)
    assert (past.ending, past.closed_by, past.reason) == (Ending.TIME, None, REASON)
    assert box.trail() == ["admin:support:opened", "box:support:ended"]


def test_the_admin_cuts_it_and_cutting_twice_is_fine(box: Box, vendor: Path) -> None:
    box.open(a_request(vendor))
    assert cut_session(box.db, box.activity, box.host, admin=box.ana, address="10.99.0.9")
    assert not box.host.support_status().open
    assert not cut_session(box.db, box.activity, box.host, admin=box.ana, address="10.99.0.9")
    assert [(past.ending, past.closed_by) for past in past_sessions(box.db)] == [(Ending.CUT, "ana")]
    assert box.trail() == ["admin:support:opened", "admin:support:cut"]


def test_a_restart_ends_it(box: Box, vendor: Path) -> None:
    box.open(a_request(vendor))
    box.host = SimulatedHost(box.settings.wireguard_key_path, box.settings.host_dir)
    assert box.settle() == "the support session is over"
    assert past_sessions(box.db)[0].ending is Ending.RESTART


def test_a_tunnel_that_nobody_recorded_is_closed(box: Box, vendor: Path) -> None:
    request, _ = make_request(vendor, engineer="Vera", endpoint=ENDPOINT)
    plan = SupportPlan(
        public_key=request.tunnel_key,
        endpoint=request.endpoint,
        vendor_address=request.vendor_address,
        box_address=request.box_address,
        until=box.now + 60,
    )
    box.host.open_support(plan)
    assert "closed" in box.settle()
    assert not box.host.support_status().open


def test_a_request_is_good_once(box: Box, vendor: Path) -> None:
    text = a_request(vendor)
    box.open(text)
    with pytest.raises(SessionOpenAlready):
        box.open(a_request(vendor))
    cut_session(box.db, box.activity, box.host, admin=box.ana, address="")
    with pytest.raises(RequestUsed):
        box.open(text)
    box.open(a_request(vendor))


@pytest.mark.parametrize("off_seconds", [-HOUR_SECONDS, 25 * HOUR_SECONDS, 10 * 365 * 24 * HOUR_SECONDS])
def test_out_of_its_time_it_opens_nothing_and_the_clock_is_named(
    box: Box, vendor: Path, off_seconds: float
) -> None:
    text = a_request(vendor)
    box.now += off_seconds
    with pytest.raises(
        RequestOutOfTime, match=r"the box's clock says .* If the box's clock is right"
    ) as refused:
        box.open(text)
    assert refused.value.clock_at == box.now
    assert open_now(box.db) is None
    assert not box.host.support_status().open
    assert box.trail() == ["admin:support:refused"]


def test_a_clock_that_was_set_back_does_not_lengthen_the_plan(box: Box, vendor: Path) -> None:
    session = box.open(a_request(vendor), hours=8)
    plan = SupportPlan(
        public_key=session.request.tunnel_key,
        endpoint=session.request.endpoint,
        vendor_address=session.request.vendor_address,
        box_address=session.request.box_address,
        until=session.until,
    )
    assert plan.seconds_left(session.opened_at - 30 * 24 * HOUR_SECONDS) == 8 * HOUR_SECONDS


def test_another_vendors_request_is_refused(box: Box, tmp_path: Path) -> None:
    make_vendor_keys(tmp_path / "other")
    with pytest.raises(RequestNotTrusted, match="not made by the vendor"):
        box.open(a_request(tmp_path / "other"))
    assert open_now(box.db) is None


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_request_that_was_changed_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "vendor-of-changed"
    public = folder / "support.pub"
    if not public.exists():
        make_vendor_keys(folder)
    _, text = make_request(folder, engineer="Vera", endpoint=ENDPOINT)
    payload, signature = text.splitlines()[1:3]
    raw = bytearray(base64.b64decode(payload) + base64.b64decode(signature))
    raw[position % len(raw)] ^= flip
    changed = [base64.b64encode(part).decode() for part in (raw[:-64], raw[-64:])]
    with pytest.raises(RequestNotTrusted):
        read_request(
            "\n".join([REQUEST_HEAD, *changed, REQUEST_END]), load_vendor(public).signing_key, time.time()
        )


@given(text=st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_other_text_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "vendor-of-texts"
    if not folder.exists():
        make_vendor_keys(folder)
    key = load_vendor(folder / "support.pub").signing_key
    for pasted in (text, f"{REQUEST_HEAD}\n{text}\n{REQUEST_END}", f"{REQUEST_HEAD}{text}"):
        with pytest.raises((RequestUnreadable, RequestNotTrusted)):
            read_request(pasted, key, time.time())


@pytest.mark.parametrize("end", ["10.77.0.1", "192.168.1.1", "10.99.0.1", "127.0.0.1"])
def test_a_request_for_a_way_into_the_lan_is_refused_even_from_the_vendor(
    box: Box, vendor: Path, end: str
) -> None:
    for ends in ({"box_address": end}, {"vendor_address": end}):
        with pytest.raises(RequestNotTrusted, match="way into your network"):
            box.open(a_request(vendor, **ends))
    assert open_now(box.db) is None


def test_without_reason_hours_or_vendor_nothing_is_opened(box: Box, vendor: Path) -> None:
    text = a_request(vendor)
    for hours, reason in ((2, REASON), (0, REASON), (1, ""), (1, "  x "), (1, "y" * 400)):
        with pytest.raises(SessionRefused):
            box.open(text, hours, reason)
    (vendor / "support.pub").unlink()
    with pytest.raises(NoVendor):
        box.open(text)
    assert open_now(box.db) is None


def test_a_host_that_refuses_leaves_no_session_and_the_request_good(
    box: Box, vendor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = a_request(vendor)

    def refuse(plan: SupportPlan) -> str:
        raise HostFailed("wireguard-go could not start.")

    with monkeypatch.context() as broken:
        broken.setattr(box.host, "open_support", refuse)
        with pytest.raises(Refusal, match="wireguard-go"):
            box.open(text)
    assert open_now(box.db) is None
    box.open(text)
    assert box.trail() == ["admin:support:opened", "box:support:ended", "admin:support:opened"]
