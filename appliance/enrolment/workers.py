"""Workers in cellule.db: redeemed, approved with a tunnel address, revoked.

What may change is decided by `rules`, inside the transaction that changes it: of many redemptions of one
invitation, or approvals at one moment, each sees what the others did.
"""

import secrets
from typing import Any

from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.contract import WorkerFacts, WorkerState
from appliance.enrolment.invitations import consume_invitation, invitation_by_id
from appliance.enrolment.records import Worker
from appliance.enrolment.rules import free_name, may_redeem, next_tunnel_address
from appliance.errors import NotTrusted, Refused
from appliance.settings import BOX_NODE
from appliance.storage import transaction

_SELECT = (
    "SELECT id, name, public_key, invitation_id, state, short_code, facts, tunnel_address, created_at,"
    " approved_at, approved_by, revoked_at FROM workers"
)


class InvitationRefused(NotTrusted):
    """The proof was right, but the invitation may not be redeemed by this key now."""

    code = "invitation_refused"
    http_status = 403


class UnknownWorker(Refused):
    code = "unknown_worker"
    http_status = 404


class WorkerNotPending(Refused):
    """A revoked worker can't be approved."""

    code = "worker_not_pending"
    http_status = 409


class ShortCodeChanged(Refused):
    """The worker began anew since the page was shown."""

    code = "short_code_changed"
    http_status = 409


class NoTunnelAddress(Refused):
    """Every address of the tunnel network belongs to a live worker."""

    code = "no_tunnel_address"
    http_status = 409


def redeem_invitation(
    db: Database, invitation_id: str, *, public_key: str, facts: WorkerFacts, short_code: str, poll_key: bytes
) -> Worker:
    """Consumes the invitation for `public_key`, once, and returns the pending worker.

    The caller has checked the proof. The same key again gets the same worker. Raises InvitationRefused.
    """
    at = now()
    with transaction(db):
        made = _find(db, "invitation_id = ?", invitation_id)
        invitation = invitation_by_id(db, invitation_id)
        decision = may_redeem(
            invitation,
            made,
            public_key=public_key,
            key_is_known=_find(db, "public_key = ?", public_key) is not None,
            at=at,
        )
        if not decision.is_allowed:
            raise InvitationRefused(decision.reason, next_step="Ask the admin for a new invitation.")
        worker_id = made.id if made else secrets.token_hex(8)
        if made is None:
            consume_invitation(db, invitation_id, worker_id, at)
            db.execute(
                "INSERT INTO workers (id, name, public_key, invitation_id, state, short_code, poll_key,"
                " facts, created_at) VALUES (?, ?, ?, ?, 'pending', '', '', '', ?)",
                # the admin's word for the PC: what a machine calls itself is no more than a fact of it
                [worker_id, free_name(invitation.label, _names(db)), public_key, invitation_id, at],
            )
        db.execute("UPDATE workers SET poll_key = ? WHERE id = ?", [poll_key, worker_id])
        # what the admin compared stays as it was once he has decided
        db.execute(
            "UPDATE workers SET short_code = ?, facts = ? WHERE id = ? AND state = 'pending'",
            [short_code, facts.model_dump_json(), worker_id],
        )
        return worker_by_id(db, worker_id)


def list_workers(db: Database) -> list[Worker]:
    """All workers that ever redeemed an invitation, in order of coming."""
    return [_worker(row) for row in db.query(f"{_SELECT} ORDER BY created_at, id")]


def worker_by_id(db: Database, worker_id: str) -> Worker:
    """Raises UnknownWorker."""
    worker = _find(db, "id = ?", worker_id)
    if worker is None:
        raise UnknownWorker("There is no such worker.")
    return worker


def worker_by_tunnel_address(db: Database, address: str) -> Worker | None:
    """The worker, approved or revoked since, to whom `address` was given."""
    return _find(db, "tunnel_address = ?", address)


def poll_key_of(db: Database, worker_id: str) -> bytes | None:
    """The key (32 bytes) that the worker proves itself with when it asks for its status."""
    row = db.execute("SELECT poll_key FROM workers WHERE id = ?", [worker_id]).fetchone()
    return None if row is None else bytes(row[0])


def approve_worker(
    db: Database, worker_id: str, *, approved_by: str | None, short_code: str | None = None
) -> Worker:
    """Takes the worker into the fleet and gives it its tunnel address. Safe to repeat.

    `short_code` is the one that the admin compared; if the worker has another by now, nothing happens.
    Raises UnknownWorker, WorkerNotPending, ShortCodeChanged, NoTunnelAddress.
    """
    with transaction(db):
        worker = worker_by_id(db, worker_id)
        if worker.state is WorkerState.APPROVED:
            return worker
        if worker.state is WorkerState.REVOKED:
            raise WorkerNotPending("The worker was revoked.", next_step="Invite it anew.")
        if short_code is not None and short_code != worker.short_code:
            raise ShortCodeChanged(
                "The worker shows another code by now.", next_step="Compare the new one.", param="short_code"
            )
        db.execute(
            "UPDATE workers SET state = 'approved', approved_at = ?, approved_by = ?, tunnel_address = ?"
            " WHERE id = ?",
            [now(), approved_by, _take_tunnel_address(db), worker_id],
        )
        return worker_by_id(db, worker_id)


def revoke_worker(db: Database, worker_id: str) -> None:
    """Takes the worker out of the fleet, or refuses a pending one; final. Raises UnknownWorker."""
    with transaction(db):
        worker_by_id(db, worker_id)
        db.execute(
            "UPDATE workers SET state = 'revoked', revoked_at = ? WHERE id = ? AND state != 'revoked'",
            [now(), worker_id],
        )


def _take_tunnel_address(db: Database) -> str:
    in_use = _addresses(db, "state = 'approved'")
    resting = _addresses(db, "state = 'revoked' ORDER BY revoked_at")
    address = next_tunnel_address(in_use, resting)
    if address is None:
        raise NoTunnelAddress("No tunnel address is left.", next_step="Revoke a worker that is gone.")
    db.execute("UPDATE workers SET tunnel_address = NULL WHERE tunnel_address = ?", [address])
    return address


def _names(db: Database) -> list[str]:
    return [BOX_NODE, *(row[0] for row in db.execute("SELECT name FROM workers WHERE state != 'revoked'"))]


def _addresses(db: Database, where: str) -> list[str]:
    return [
        row[0]
        for row in db.execute(
            f"SELECT tunnel_address FROM workers WHERE tunnel_address IS NOT NULL AND {where}"  # noqa: S608 ours
        )
    ]


def _find(db: Database, condition: str, value: str) -> Worker | None:
    row = next(db.query(f"{_SELECT} WHERE {condition}", [value]), None)
    return None if row is None else _worker(row)


def _worker(row: dict[str, Any]) -> Worker:
    return Worker(
        **{
            **row,
            "state": WorkerState(row["state"]),
            "facts": WorkerFacts.model_validate_json(row["facts"]),
        }
    )
