"""What each worker is told of a hand-out, from wishes and reports in real databases."""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from sqlite_utils import Database

from appliance.enrolment import (
    DesiredState,
    Worker,
    WorkerReport,
    approve_worker,
    create_invitation,
    list_workers,
    revoke_worker,
)
from appliance.enrolment.contract import WorkerFacts
from appliance.enrolment.rules import desired_state
from appliance.enrolment.wishes import Wish, set_wish, wish_for
from appliance.enrolment.workers import redeem_invitation
from appliance.handout import HandoutChoice, HandoutTime
from appliance.handout.contract import ModelProgress
from appliance.handout.desk import REPORT_EVERY_SECONDS, Desk
from appliance.host import HostUnavailable
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.settings import Settings
from appliance.storage import open_cellule, write_choice
from tests.host.test_contract import a_key

BUNDLE = Bundle(format=ModelFormat.GGUF, files=(BundleFile(path="w.gguf", size_bytes=100, sha256="a" * 64),))


class Fleet:
    """Approved workers, and the desk that hears them."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.desk = Desk(self._endpoints)
        self.seen = True
        for name in ("one", "two", "three"):
            invitation = create_invitation(db, settings, name, created_by=None)
            worker = redeem_invitation(
                db,
                invitation.id,
                public_key=a_key(),
                facts=WorkerFacts(name=name),
                short_code="1",
                poll_key=bytes(32),
            )
            approve_worker(db, worker.id, approved_by=None)
        self.one, self.two, self.three = list_workers(db)

    def _endpoints(self) -> dict[str, str]:
        if not self.seen:
            raise HostUnavailable("The broker is away.", retry_after_seconds=1)
        return {
            worker.public_key: f"192.168.1.{number}:4000"
            for number, worker in enumerate(list_workers(self.db))
        }

    def wish(self, *workers: Worker) -> None:
        for worker in workers:
            set_wish(self.db, worker.id, Wish(models=(BUNDLE,)))

    def hear(
        self, worker: Worker, *, complete: bool = False, avoided: tuple[Worker, ...] = ()
    ) -> DesiredState:
        """What the worker is told on a report."""
        models = (ModelProgress(digest=BUNDLE.digest, have_bytes=100, total_bytes=100, is_complete=True),)
        report = WorkerReport(
            name=worker.name,
            models=models if complete else (),
            avoided=tuple(IPv4Address(str(each.tunnel_address)) for each in avoided),
        )
        return self.desk.advise(self.db, worker, report, desired_state(worker, wish_for(self.db, worker.id)))


@pytest.fixture
def fleet(settings: Settings) -> Iterator[Fleet]:
    with open_cellule(settings.state_dir) as db:
        yield Fleet(db, settings)


def linked(desired: DesiredState) -> set[str]:
    return {str(link.tunnel_address) for link in desired.handout.links}


def test_who_wants_a_model_is_linked_with_who_has_it_and_both_know_their_side(fleet: Fleet) -> None:
    fleet.wish(fleet.one, fleet.two)
    assert linked(fleet.hear(fleet.one, complete=True)) == set()
    told = fleet.hear(fleet.two)
    [link] = told.handout.links
    assert (str(link.tunnel_address), link.public_key) == (fleet.one.tunnel_address, fleet.one.public_key)
    assert (link.gives, link.has_all_of, link.takes) == ((BUNDLE.digest,), (BUNDLE.digest,), ())
    assert [(part.number, part.of) for part in told.handout.parts] == [(0, 1)]
    assert told.report_every_seconds == REPORT_EVERY_SECONDS
    [back] = fleet.hear(fleet.one, complete=True).handout.links
    assert (back.public_key, back.gives, back.takes) == (fleet.two.public_key, (), (BUNDLE.digest,))
    # once both have it, nothing stays open
    assert linked(fleet.hear(fleet.two, complete=True)) == set()
    assert linked(fleet.hear(fleet.one, complete=True)) == set()
    assert fleet.hear(fleet.three).handout.links == ()


def test_those_that_fetch_at_once_share_the_pieces_among_them(fleet: Fleet) -> None:
    workers = (fleet.one, fleet.two, fleet.three)
    fleet.wish(*workers)
    for worker in workers:
        fleet.hear(worker)
    told = [fleet.hear(worker) for worker in workers]
    assert sorted((part.number, part.of) for each in told for part in each.handout.parts) == [
        (0, 3),
        (1, 3),
        (2, 3),
    ]
    for desired in told:
        assert len(desired.handout.links) == 2
        assert all(link.gives and link.takes and not link.has_all_of for link in desired.handout.links)


def test_a_revoked_worker_and_one_that_lied_are_linked_with_nobody(fleet: Fleet) -> None:
    fleet.wish(fleet.one, fleet.two, fleet.three)
    for worker in (fleet.one, fleet.two):
        fleet.hear(worker, complete=True)
    addresses = {str(fleet.one.tunnel_address), str(fleet.two.tunnel_address)}
    assert linked(fleet.hear(fleet.three)) == addresses
    assert linked(fleet.hear(fleet.three, avoided=(fleet.one,))) == {str(fleet.two.tunnel_address)}
    assert linked(fleet.hear(fleet.one, complete=True)) == set()
    revoke_worker(fleet.db, fleet.two.id)
    assert linked(fleet.hear(fleet.three, avoided=(fleet.one,))) == set()


def test_in_office_hours_nobody_is_linked_and_the_reason_is_told(fleet: Fleet) -> None:
    fleet.wish(fleet.one, fleet.two)
    fleet.hear(fleet.one, complete=True)
    write_choice(
        fleet.db,
        HandoutChoice(when=HandoutTime.OUTSIDE_OFFICE_HOURS, office_hours=("00:00-24:00",) * 7),
        chosen_by=None,
    )
    orders = fleet.hear(fleet.two).handout
    assert (orders.may_fetch, orders.links, orders.parts) == (False, (), ())
    assert "Office hours" in orders.reason


def test_without_the_broker_each_fetches_from_the_box(fleet: Fleet) -> None:
    fleet.seen = False
    fleet.wish(fleet.one, fleet.two)
    fleet.hear(fleet.one, complete=True)
    orders = fleet.hear(fleet.two).handout
    assert (orders.may_fetch, orders.links) == (True, ())


def test_the_caps_of_the_choice_are_told(fleet: Fleet) -> None:
    choice = HandoutChoice(receive_bytes_per_second=1_000_000, send_bytes_per_second=0, quota_bytes=7)
    write_choice(fleet.db, choice, chosen_by=None)
    orders = fleet.hear(fleet.one).handout
    assert (orders.receive_bytes_per_second, orders.send_bytes_per_second) == (1_000_000, 0)
    assert (orders.quota_bytes, orders.keep_free_bytes) == (7, choice.keep_free_bytes)
