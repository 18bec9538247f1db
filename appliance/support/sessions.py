"""Remote sessions of the vendor: opened by an admin with an end time, recorded, and closed for good.

Order: an admin pastes the vendor's request and says why and for how long → `open_session` → the admin gives
the `answer` back to the vendor → the vendor's commands, each in the audit trail before it runs → the end: by
an admin (`cut_session`), by time, or by a restart (`settle_session`, a job). A request is good once.
"""

import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.errors import Refusal, Refused
from appliance.host import Host, SupportPlan
from appliance.people import Account, AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import transaction
from appliance.support.request import RequestNotTrusted, SessionRequest, answer_text, read_request
from appliance.support.trust import load_vendor

HOURS_OFFERED = (1, 4, 8)
SHORTEST_REASON, LONGEST_REASON = 5, 300


class SessionRefused(Refused):
    """The admin's part of the form: a reason and a duration are missing."""

    code = "support_session_refused"


class RequestUsed(RequestNotTrusted):
    """There was a session with this request already."""

    code = "support_request_used"


class SessionOpenAlready(Refused):
    """At most one session at a time."""

    code = "support_session_open"
    http_status = 409


class Ending(StrEnum):
    """How a session ended; the values are stored."""

    CUT = "cut"
    TIME = "time"
    RESTART = "restart"


@dataclass(frozen=True)
class Session:
    """One session, open or past. Times are epoch seconds; `opened_by` and `closed_by` are account names."""

    request: SessionRequest
    reason: str
    opened_by: str
    opened_at: float
    until: float
    box_key: str = ""
    closed_at: float | None = None
    closed_by: str | None = None
    ending: Ending | None = None

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def answer(self) -> str:
        """The line that the admin gives to the vendor."""
        return answer_text(self.id, self.box_key)


def open_session(
    db: Database,
    activity: Database,
    host: Host,
    settings: Settings,
    *,
    text: str,
    hours: int,
    reason: str,
    admin: Account,
    address: str,
    clock: Clock = now,
) -> Session:
    """Opens the tunnel for the vendor whose request is in `text`. Nothing stays open when it raises.

    Raises SessionRefused, NoVendor, RequestUnreadable, RequestNotTrusted, RequestOutOfTime, RequestUsed,
    SessionOpenAlready, and what the host refuses with. A refused request is noted in the audit trail.
    """
    reason = " ".join(reason.split())
    if hours not in HOURS_OFFERED:
        raise SessionRefused("Choose how long the session may last.", param="hours")
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise SessionRefused(f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters.", param="reason")
    try:
        request = read_request(text, load_vendor(settings.vendor_support_file).signing_key, clock())
        opened_at = clock()
        session = Session(request, reason, admin.name, opened_at, opened_at + hours * 3600)
        plan = _plan(session)
        _insert(db, session)
    except Refusal as refusal:
        refused, said = AuditEvent.ADMIN_SUPPORT_REFUSED, refusal.sentence
        record_audit(activity, refused, actor=admin.name, address=address, detail=said)
        raise
    # noted before anything is open
    record_audit(
        activity,
        AuditEvent.ADMIN_SUPPORT_OPENED,
        actor=admin.name,
        address=address,
        subject=request.engineer,
        detail=f"{hours} h, to {request.endpoint}, request {request.id[:8]}: {reason}",
    )
    try:
        box_key = host.open_support(plan)
    except Refusal as refusal:
        # the vendor's request is still good: nothing was opened with it
        db.execute("DELETE FROM support_sessions WHERE id = ?", [session.id])
        record_audit(activity, AuditEvent.BOX_SUPPORT_ENDED, subject=request.engineer, detail=str(refusal))
        raise
    db.execute("UPDATE support_sessions SET box_key = ? WHERE id = ?", [box_key, session.id])
    return replace(session, box_key=box_key)


def cut_session(db: Database, activity: Database, host: Host, *, admin: Account, address: str) -> bool:
    """Ends the open session now, whoever opened it; False when there was none. Raises what the host does.

    The record is closed even when the host does not answer: the service then performs nothing any more.
    """
    session = open_now(db)
    try:
        host.close_support()
    finally:
        if session is not None and _close(db, session, Ending.CUT, admin.name):
            record_audit(
                activity,
                AuditEvent.ADMIN_SUPPORT_CUT,
                actor=admin.name,
                address=address,
                subject=session.request.engineer,
            )
    return session is not None


def settle_session(db: Database, activity: Database, host: Host, clock: Clock = now) -> str:
    """Makes record and tunnel agree: what is over is closed, what nobody recorded is cut. Safe to repeat."""
    session, status = open_now(db), host.support_status()
    if session is None:
        if status.open:
            host.close_support()
            return "a tunnel that no session belongs to was closed"
        return ""
    if status.open and clock() < session.until:
        return ""
    # a session whose tunnel is not up yet was recorded a moment ago
    if not status.open and not session.box_key and clock() - session.opened_at < 60:
        return ""
    ending = Ending.TIME if clock() >= session.until else Ending.RESTART
    host.close_support()
    if _close(db, session, ending, None):
        record_audit(
            activity, AuditEvent.BOX_SUPPORT_ENDED, subject=session.request.engineer, detail=_WORDS[ending]
        )
    return "the support session is over"


def open_now(db: Database) -> Session | None:
    """The session that is open, if one is."""
    return next(iter(_sessions(db, "closed_at IS NULL")), None)


def past_sessions(db: Database, limit: int = 20) -> list[Session]:
    """Sessions that are over, the last one first."""
    return _sessions(db, "closed_at IS NOT NULL")[:limit]


_WORDS = {Ending.TIME: "Its time was over.", Ending.RESTART: "The box was restarted, or its tunnel ended."}


def _plan(session: Session) -> SupportPlan:
    request = session.request
    try:
        return SupportPlan(
            public_key=request.tunnel_key,
            endpoint=request.endpoint,
            vendor_address=request.vendor_address,
            box_address=request.box_address,
            until=session.until,
        )
    except ValueError as error:
        raise RequestNotTrusted(
            "The vendor's request asks for a way into your network, which no session may have.",
            next_step="Ask your vendor for a new request.",
            param="request",
        ) from error


def _insert(db: Database, session: Session) -> None:
    with transaction(db):
        if open_now(db) is not None:
            raise SessionOpenAlready("A support session is open.", next_step="End it first.")
        row = [session.id, session.request.model_dump_json(), session.reason, session.opened_by]
        try:
            db.execute(
                "INSERT INTO support_sessions (id, request, reason, opened_by, opened_at, until)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [*row, session.opened_at, session.until],
            )
        except sqlite3.IntegrityError:
            raise RequestUsed(
                "There was a session with this request already.",
                next_step="Ask your vendor for a new one.",
                param="request",
            ) from None


def _close(db: Database, session: Session, ending: Ending, closed_by: str | None) -> bool:
    """False when somebody else closed it first."""
    done = db.execute(
        "UPDATE support_sessions SET closed_at = ?, closed_by = ?, ending = ?"
        " WHERE id = ? AND closed_at IS NULL",
        [now(), closed_by, ending.value, session.id],
    )
    return bool(done.rowcount)


def _sessions(db: Database, condition: str) -> list[Session]:
    rows = db.execute(
        "SELECT request, reason, opened_by, opened_at, until, box_key, closed_at, closed_by, ending"  # noqa: S608
        f" FROM support_sessions WHERE {condition} ORDER BY opened_at DESC"
    )
    return [_session(row) for row in rows]


def _session(row: tuple[Any, ...]) -> Session:
    request, reason, opened_by, opened_at, until, box_key, closed_at, closed_by, ending = row
    return Session(
        SessionRequest.model_validate_json(request),
        reason,
        opened_by,
        opened_at,
        until,
        box_key,
        closed_at,
        closed_by,
        Ending(ending) if ending else None,
    )
