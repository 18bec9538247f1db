"""Approval gives each live worker a tunnel address of its own, whoever approves at the same moment."""

import ipaddress
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from sqlite_utils import Database

from appliance.enrolment import (
    Worker,
    WorkerFacts,
    WorkerState,
    approve_worker,
    create_invitation,
    list_invitations,
    list_workers,
    revoke_worker,
)
from appliance.enrolment.invitations import InvitationNotPossible, UnknownInvitation, revoke_invitation
from appliance.enrolment.rules import desired_state, may_redeem, next_tunnel_address
from appliance.enrolment.workers import (
    InvitationRefused,
    ShortCodeChanged,
    UnknownWorker,
    WorkerNotPending,
    redeem_invitation,
)
from appliance.settings import Settings
from appliance.storage import open_cellule

AT_ONCE = 12
P = ParamSpec("P")
T = TypeVar("T")


@pytest.fixture
def db(settings: Settings) -> Database:
    return open_cellule(settings.state_dir)


def pending(db: Database, settings: Settings, name: str = "pc") -> Worker:
    invitation = create_invitation(db, settings, name, created_by=None)
    return redeem(db, invitation.id, key=f"key of {invitation.id}")


def redeem(db: Database, invitation_id: str, *, key: str) -> Worker:
    return redeem_invitation(
        db,
        invitation_id,
        public_key=key,
        facts=WorkerFacts(name="pc"),
        short_code="123456",
        poll_key=bytes(32),
    )


def at_once(state_dir: Path, work: list[str], act: Callable[[Database, str], Worker]) -> list[object]:
    """act(db, item) for each item in a thread with a connection of its own, all at the same moment."""

    start = threading.Barrier(len(work))

    def one(item: str) -> object:
        with open_cellule(state_dir) as own:
            start.wait(10)
            try:
                return act(own, item)
            except InvitationRefused as refused:
                return refused

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(one, work))


def slowly(rule: Callable[P, T]) -> Callable[P, T]:
    """The same rule, which takes ten milliseconds."""

    def slow(*arguments: P.args, **named: P.kwargs) -> T:
        time.sleep(0.01)
        return rule(*arguments, **named)

    return slow


def test_approvals_at_once_give_distinct_addresses(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.enrolment.workers.next_tunnel_address", slowly(next_tunnel_address))
    ids = [pending(db, settings).id for _ in range(AT_ONCE)]
    at_once(settings.state_dir, ids * 2, lambda own, worker: approve_worker(own, worker, approved_by=None))
    workers = list_workers(db)
    assert {worker.state for worker in workers} == {WorkerState.APPROVED}
    addresses = {worker.tunnel_address for worker in workers}
    assert addresses == {f"10.77.0.{number}" for number in range(2, 2 + AT_ONCE)}


def test_redemptions_at_once_make_one_worker(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # time for the others to come in between the decision and what follows from it, if they could
    monkeypatch.setattr("appliance.enrolment.workers.may_redeem", slowly(may_redeem))
    invitation = create_invitation(db, settings, "pc", created_by=None).id
    keys = [f"key {number}" for number in range(AT_ONCE)]
    outcomes = at_once(settings.state_dir, keys, lambda own, key: redeem(own, invitation, key=key))
    [winner] = [outcome for outcome in outcomes if isinstance(outcome, Worker)]
    assert list_workers(db) == [winner]
    assert list_invitations(db)[0].redeemed_by == winner.id
    assert sum("already used" in str(outcome) for outcome in outcomes) == AT_ONCE - 1


def test_the_code_that_was_compared_is_the_one_that_counts(db: Database, settings: Settings) -> None:
    worker = pending(db, settings)
    with pytest.raises(ShortCodeChanged):
        approve_worker(db, worker.id, approved_by=None, short_code="654321")
    assert list_workers(db) == [worker]
    approved = approve_worker(db, worker.id, approved_by=None, short_code="123456")
    assert approve_worker(db, worker.id, approved_by=None) == approved


def test_revoked_is_final(db: Database, settings: Settings) -> None:
    worker = pending(db, settings)
    revoke_worker(db, worker.id)
    [revoked] = list_workers(db)
    revoke_worker(db, worker.id)
    assert list_workers(db) == [revoked] and revoked.state is WorkerState.REVOKED
    with pytest.raises(WorkerNotPending):
        approve_worker(db, worker.id, approved_by=None)
    assert desired_state(revoked).state is WorkerState.REVOKED and not desired_state(revoked).engines


def test_a_resting_address_is_the_last_to_be_given_again(db: Database, settings: Settings) -> None:
    first = approve_worker(db, pending(db, settings).id, approved_by=None)
    revoke_worker(db, first.id)
    second = approve_worker(db, pending(db, settings).id, approved_by=None)
    assert (first.tunnel_address, second.tunnel_address) == ("10.77.0.2", "10.77.0.3")


def test_when_all_addresses_were_used_the_longest_resting_one_is_taken(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.enrolment.rules.TUNNEL_NETWORK", "10.77.0.0/29")
    workers = [approve_worker(db, pending(db, settings).id, approved_by=None) for _ in range(5)]
    for index in (3, 1):
        revoke_worker(db, workers[index].id)
    taken = approve_worker(db, pending(db, settings).id, approved_by=None)
    assert taken.tunnel_address == workers[3].tunnel_address
    live = [worker.tunnel_address for worker in list_workers(db) if worker.state is WorkerState.APPROVED]
    assert len(live) == len(set(live)) == 4
    [before] = [worker for worker in list_workers(db) if worker.id == workers[3].id]
    assert before.tunnel_address is None


def test_addresses_come_from_the_tunnel_network_until_none_is_left() -> None:
    everything = [str(host) for host in ipaddress.IPv4Network("10.77.0.0/16").hosts()]
    assert next_tunnel_address([], []) == "10.77.0.2"
    assert next_tunnel_address(everything[1:-1], []) == "10.77.255.254"
    assert next_tunnel_address(everything[1:-1], [everything[-1]]) == everything[-1]
    assert next_tunnel_address(everything[1:], []) is None


def test_what_does_not_exist_is_said(db: Database, settings: Settings) -> None:
    with pytest.raises(UnknownWorker):
        approve_worker(db, "nobody", approved_by=None)
    with pytest.raises(UnknownWorker):
        revoke_worker(db, "nobody")
    with pytest.raises(UnknownInvitation):
        revoke_invitation(db, "nothing")
    for label, seconds in (("", 900.0), ("x" * 81, 900), ("a\nb", 900), ("pc", 0), ("pc", 1e9)):
        with pytest.raises(InvitationNotPossible):
            create_invitation(db, settings, label, created_by=None, valid_for_seconds=seconds)
    assert list_invitations(db) == []


def test_no_two_live_nodes_have_one_name(db: Database, settings: Settings) -> None:
    first, second, box = (pending(db, settings, label) for label in ("Reception", "RECEPTION", "Box"))
    assert [worker.name for worker in (first, second, box)] == ["Reception", "RECEPTION 2", "Box 2"]
    assert redeem(db, second.invitation_id, key=second.public_key).name == second.name, (
        "however often it asks"
    )
    revoke_worker(db, first.id)
    assert pending(db, settings, "Reception").name == "Reception", "a PC that comes back is the same PC"
