"""The box's desk for hand-outs: what each worker is told, from what all of them report.

What it knows of the workers lives in memory and is told anew with every report. Runs in the one thread that
takes the reports.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.contract import DesiredState, WorkerReport
from appliance.enrolment.records import Worker
from appliance.errors import Refusal
from appliance.handout.contract import MOST_LINKS, Link, Part
from appliance.handout.hours import HandoutChoice, handout_permission, orders_of
from appliance.handout.sharing import Holder, Ring, share_out
from appliance.settings import SILENT_AFTER_SECONDS
from appliance.storage import read_choice

log = logging.getLogger("cellule.handout")

REPORT_EVERY_SECONDS = 1.0
"""Of a worker that fetches or gives: its links come and go with its reports."""
_ENDPOINTS_KEPT_SECONDS = 1.0


@dataclass(frozen=True)
class _Heard:
    """A worker as its last report and its wishes show it."""

    at: float
    public_key: str
    tunnel_address: str
    wanted: frozenset[str]
    complete: frozenset[str]
    avoided: frozenset[str]


class Desk:
    """`endpoints()` is where the box sees each worker, public key → address:port."""

    def __init__(self, endpoints: Callable[[], dict[str, str]]) -> None:
        self._endpoints = endpoints
        self._seen: dict[str, str] = {}
        self._seen_at = float("-inf")
        self._heard: dict[str, _Heard] = {}

    def advise(
        self, db: Database, worker: Worker, report: WorkerReport, desired: DesiredState
    ) -> DesiredState:
        """`desired` with the orders for this hand-out; takes in the report on the way."""
        self._take_in(worker, report, desired)
        choice = read_choice(db, HandoutChoice)
        orders = orders_of(choice, handout_permission(choice, now()))
        links, parts = self._links_and_parts(db, worker.id) if orders.may_fetch else ((), ())
        orders = orders.model_copy(update={"links": links, "parts": parts})
        is_busy = bool(links or parts)
        every = min(desired.report_every_seconds, REPORT_EVERY_SECONDS) if is_busy else None
        return desired.model_copy(
            update={"handout": orders, "report_every_seconds": every or desired.report_every_seconds}
        )

    def _take_in(self, worker: Worker, report: WorkerReport, desired: DesiredState) -> None:
        complete = frozenset(model.digest for model in report.models if model.is_complete)
        avoided = frozenset(str(address) for address in report.avoided)
        before = self._heard.get(worker.id)
        for address in sorted(avoided - (before.avoided if before else frozenset())):
            log.warning("worker %s got a wrong piece from %s and leaves it alone", worker.id, address)
        self._heard[worker.id] = _Heard(
            monotonic(),
            worker.public_key,
            worker.tunnel_address or "",
            frozenset(bundle.digest for bundle in desired.bundles) - complete,
            complete,
            avoided,
        )

    def _links_and_parts(self, db: Database, worker_id: str) -> tuple[tuple[Link, ...], tuple[Part, ...]]:
        me = self._heard[worker_id]
        present = self._present(db)
        # what nobody lacks needs no links: most reports end here
        lacking = frozenset().union(*(heard.wanted for heard in present.values()))
        shared = me.wanted | (me.complete & lacking)
        rings = {digest: self._ring(digest, present) for digest in sorted(shared)}
        linked = {other for ring in rings.values() for one, other in ring.links if one == worker_id}
        endpoints = self._where() if linked else {}
        links = [
            Link(
                public_key=present[other].public_key,
                tunnel_address=present[other].tunnel_address,
                endpoint=endpoints[present[other].public_key],
                gives=_shared(rings, me.wanted, worker_id, other),
                has_all_of=_shared(rings, me.wanted & present[other].complete, worker_id, other),
                takes=_shared(rings, present[other].wanted, worker_id, other),
            )
            for other in sorted(linked)
            if present[other].public_key in endpoints
        ]
        parts = [
            Part(digest=digest, number=ring.fetching.index(worker_id), of=len(ring.fetching))
            for digest, ring in rings.items()
            if worker_id in ring.fetching
        ]
        return tuple(links[:MOST_LINKS]), tuple(parts)

    def _present(self, db: Database) -> dict[str, _Heard]:
        approved = {row[0] for row in db.execute("SELECT id FROM workers WHERE state = 'approved'")}
        since = monotonic() - SILENT_AFTER_SECONDS
        self._heard = {
            worker_id: heard
            for worker_id, heard in self._heard.items()
            if worker_id in approved and heard.at > since
        }
        return self._heard

    @staticmethod
    def _ring(digest: str, present: dict[str, _Heard]) -> Ring:
        holders = [
            Holder(worker_id, digest in heard.complete)
            for worker_id, heard in present.items()
            if digest in heard.wanted or digest in heard.complete
        ]
        by_address = {heard.tunnel_address: worker_id for worker_id, heard in present.items()}
        avoided = [
            (worker_id, by_address[address])
            for worker_id, heard in present.items()
            for address in heard.avoided
            if address in by_address
        ]
        return share_out(digest, holders, avoided)

    def _where(self) -> dict[str, str]:
        if monotonic() - self._seen_at >= _ENDPOINTS_KEPT_SECONDS:
            self._seen_at = monotonic()
            try:
                self._seen = self._endpoints()
            except Refusal as error:
                log.warning("workers can't be linked with each other now: %s", error)
                self._seen = {}
        return self._seen


def _shared(rings: dict[str, Ring], digests: Iterable[str], one: str, other: str) -> tuple[str, ...]:
    return tuple(sorted(each for each in digests if each in rings and (one, other) in rings[each].links))
