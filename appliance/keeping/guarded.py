"""A change that could cut everybody off undoes itself unless an admin confirms it from where the box is then.

`begin_change` notes it; the core's `follow_change` applies it on trial a moment later, so that the answer to
who asked still leaves by the old address; `confirm_change` has the host keep it. When the deadline passes, or
the box restarted in between (the host starts with what was last confirmed), it is undone. One at a time.

The host holds what is tried and what it came from; no certificate's key is ever stored here.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address

from sqlite_utils import Database

from appliance.errors import Refusal, Refused
from appliance.host import AddressMethod, Host, MachinePlan
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, transaction

COUNTDOWN_SECONDS = 90.0
APPLY_AFTER_SECONDS = 1.0
"""Time for the answer to reach who asked."""


class ChangePending(Refused):
    """Another change counts down."""

    code = "change_pending"
    http_status = 409


class NothingPending(Refused):
    """The change was undone or confirmed already, or is another one."""

    code = "no_change_pending"
    http_status = 404


class NotFromThere(Refused):
    """The confirmation came in by the address that the change is to leave, or before it was applied."""

    code = "confirmed_from_elsewhere"
    http_status = 409


class ChangeKind(StrEnum):
    """What a change is about, as its page names it."""

    NETWORK = "network"
    HOSTNAME = "hostname"
    OUTBOUND = "outbound"
    CERTIFICATE = "certificate"


class ChangeState(StrEnum):
    """PENDING until somebody confirms it or time is up."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    UNDONE = "undone"


@dataclass(frozen=True)
class GuardedChange:
    """One change; times are epoch seconds. `plan` and `before` are None for a certificate.

    `applied_at` is None until the core has applied it; the countdown runs from then.
    """

    id: str
    kind: ChangeKind
    state: ChangeState
    plan: MachinePlan | None
    before: MachinePlan | None
    begun_at: float
    begun_by: str
    applied_at: float | None
    error: str

    @property
    def deadline(self) -> float:
        return (self.applied_at or self.begun_at + APPLY_AFTER_SECONDS) + COUNTDOWN_SECONDS

    @property
    def new_site(self) -> str:
        """The address or name that the box has then; "" where that stays or nobody can know."""
        if self.plan is None or self.before is None:
            return ""
        network = self.plan.network
        if network != self.before.network:
            return str(network.address.ip) if network.address else ""
        if self.plan.hostname != self.before.hostname:
            return f"{self.plan.hostname}.local"
        return ""


def kind_of(before: MachinePlan, plan: MachinePlan) -> ChangeKind | None:
    """What must be guarded in going from one to the other; None when nothing could cut anybody off."""
    if plan.network != before.network:
        return ChangeKind.NETWORK
    if plan.hostname != before.hostname:
        return ChangeKind.HOSTNAME
    return ChangeKind.OUTBOUND if plan.outbound != before.outbound else None


def comes_from_there(change: GuardedChange, site: str, own_addresses: frozenset[IPv4Address]) -> bool:
    """Whether a request for `site` (its Host, without a port) reached the box as it is after the change.

    Once it is applied the old address is no longer the box's, so whatever arrives came in by the new one;
    what is left to refuse is the name that it leaves, and an address that isn't the box's.
    """
    if change.plan is None or change.before is None:
        return True
    try:
        address = IPv4Address(site)
    except AddressValueError:
        left = change.before.hostname if change.plan.hostname != change.before.hostname else None
        return site.lower().removesuffix(".local") != left
    if address.is_loopback:
        return True
    network = change.plan.network
    if change.kind is ChangeKind.NETWORK and network.method is AddressMethod.STATIC and network.address:
        return address == network.address.ip
    return address in own_addresses


def is_overdue(change: GuardedChange, at: float, booted_at: float) -> bool:
    """Whether it must be undone: time is up, or the machine restarted since it was applied."""
    return at >= change.deadline or booted_at > (change.applied_at or change.begun_at)


def begin_change(db: Database, host: Host, plan: MachinePlan, kind: ChangeKind, *, by: str, at: float) -> str:
    """Notes the change, which `follow_change` applies; its id, to confirm it with. Raises ChangePending."""
    return _note(db, kind, plan, host.machine_plan(), by=by, at=at)


def begin_certificate(
    db: Database, host: Host, certificate_pem: str | None, key_pem: str | None, *, by: str, at: float
) -> str:
    """Serves another certificate on trial, at once: connections stay. Raises ChangePending, InvalidPlan."""
    change_id = _note(db, ChangeKind.CERTIFICATE, None, None, by=by, at=at)
    try:
        host.serve_certificate(certificate_pem, key_pem, trial=True)
    except Refusal as refusal:
        if change := pending_change(db):
            _end(db, change, ChangeState.UNDONE, at=at, error=str(refusal))
        raise
    db.execute("UPDATE guarded_changes SET applied_at = ? WHERE state = 'pending'", [at])
    return change_id


def pending_change(db: Database) -> GuardedChange | None:
    """The one that counts down."""
    return _read(db, "state = 'pending'")


def last_change(db: Database) -> GuardedChange | None:
    """The newest, whatever became of it."""
    return _read(db, "TRUE ORDER BY begun_at DESC LIMIT 1")


def confirm_change(
    db: Database,
    activity: Database,
    host: Host,
    change_id: str,
    *,
    site: str,
    by: str,
    address: str,
    at: float,
) -> GuardedChange:
    """Keeps the change that was seen, and no other. Raises NothingPending, NotFromThere."""
    change = pending_change(db)
    if change is None or change.id != change_id:
        raise NothingPending("There is no such change to confirm.", next_step="It may have been undone.")
    status = host.machine_status()
    if is_overdue(change, at, status.booted_at):
        _undo(db, activity, host, change, at=at)
        raise NothingPending("Time was up: the change was undone.", next_step="Make it again.")
    own = frozenset(each.ip for interface in status.interfaces for each in interface.addresses)
    if change.applied_at is None or not comes_from_there(change, site, own):
        raise NotFromThere(
            "The change can be confirmed only from the new address.",
            next_step=f"Open https://{change.new_site}/ there." if change.new_site else "",
        )
    # the record first: whoever undoes at this moment either took the trial already or finds none pending
    if not _end(db, change, ChangeState.CONFIRMED, at=at):
        raise NothingPending("The change was undone.", next_step="Make it again.")
    try:
        host.keep_trial()
    except Refusal as refusal:
        db.execute(
            "UPDATE guarded_changes SET state = 'undone', error = ? WHERE id = ?", [str(refusal), change.id]
        )
        host.undo_trial()
        record_audit(activity, AuditEvent.BOX_CHANGE_UNDONE, subject=change.kind, detail=str(refusal))
        raise
    record_audit(activity, AuditEvent.ADMIN_CHANGE_CONFIRMED, actor=by, address=address, subject=change.kind)
    return change


def undo_change(db: Database, activity: Database, host: Host, *, at: float) -> None:
    """Undoes what is pending, now; nothing is fine."""
    if (change := pending_change(db)) is not None:
        _undo(db, activity, host, change, at=at)


def follow_change(settings: Settings, host: Host, *, at: float) -> str:
    """The core's part, every second: applies what is new, undoes what is overdue. What it did, or ""."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        change = pending_change(db)
        if change is None:
            return ""
        if is_overdue(change, at, host.machine_status().booted_at):
            _undo(db, activity, host, change, at=at)
            return f"the change of the {change.kind} was not confirmed and is undone"
        if change.applied_at is not None or change.plan is None or at < change.begun_at + APPLY_AFTER_SECONDS:
            return ""
        try:
            host.apply_machine(change.plan, trial=True)
        except Refusal as refusal:
            _undo(db, activity, host, change, at=at, error=str(refusal))
            return f"the change of the {change.kind} could not be applied and is undone"
        db.execute("UPDATE guarded_changes SET applied_at = ? WHERE id = ?", [at, change.id])
        return f"the change of the {change.kind} is on trial"


def _undo(
    db: Database, activity: Database, host: Host, change: GuardedChange, *, at: float, error: str = ""
) -> None:
    # the machine first: a record that says undone while it isn't would never be looked at again
    host.undo_trial()
    if _end(db, change, ChangeState.UNDONE, at=at, error=error):
        record_audit(activity, AuditEvent.BOX_CHANGE_UNDONE, subject=change.kind, detail=error)


def _note(
    db: Database,
    kind: ChangeKind,
    plan: MachinePlan | None,
    before: MachinePlan | None,
    *,
    by: str,
    at: float,
) -> str:
    change_id = secrets.token_hex(8)
    with transaction(db):
        if pending_change(db) is not None:
            raise ChangePending(
                "Another change waits to be confirmed.", next_step="Keep it or undo it, then make this one."
            )
        db.execute(
            """INSERT INTO guarded_changes (id, kind, state, plan, before, begun_at, begun_by)
            VALUES (?, ?, 'pending', ?, ?, ?, ?)""",
            [
                change_id,
                kind.value,
                plan.model_dump_json() if plan else None,
                before.model_dump_json() if before else None,
                at,
                by,
            ],
        )
    return change_id


def _end(db: Database, change: GuardedChange, state: ChangeState, *, at: float, error: str = "") -> bool:
    """Whether it was still pending."""
    ended = db.execute(
        "UPDATE guarded_changes SET state = ?, ended_at = ?, error = ? WHERE id = ? AND state = 'pending'",
        [state.value, at, error, change.id],
    )
    return ended.rowcount == 1


def _read(db: Database, which: str) -> GuardedChange | None:
    columns = "id, kind, state, plan, before, begun_at, begun_by, applied_at, error"
    # `which` is a text of this module
    row = db.execute(f"SELECT {columns} FROM guarded_changes WHERE {which}").fetchone()  # noqa: S608
    if row is None:
        return None
    identity, kind, state, plan, before, *rest = row
    return GuardedChange(identity, ChangeKind(kind), ChangeState(state), _plan(plan), _plan(before), *rest)


def _plan(text: str | None) -> MachinePlan | None:
    return None if text is None else MachinePlan.model_validate_json(text)
