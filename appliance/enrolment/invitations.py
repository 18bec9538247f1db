"""Invitations in cellule.db: made, listed, revoked, consumed, and their secrets wiped in time.

The secret is there only as long as somebody may still need it, and only `invitation_secret` returns it,
for the exchange.
"""

import secrets

from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.invitation_code import InvitationCode, format_code
from appliance.enrolment.records import Invitation, InvitationState, NewInvitation
from appliance.errors import Refused
from appliance.settings import Settings
from appliance.storage import transaction

LONGEST_VALIDITY_SECONDS = 7 * 24 * 3600
_LONGEST_LABEL = 80
_UNDECIDED_KEPT_SECONDS = 24 * 3600
"""How long after its expiry a redeemed invitation keeps its secret for a worker that nobody decided on."""
_SELECT = (
    "SELECT id, label, created_by, created_at, expires_at, redeemed_by, redeemed_at, revoked_at"
    " FROM invitations"
)


class InvitationNotPossible(Refused):
    """The label or the validity is out of range."""

    code = "invitation_not_possible"


class UnknownInvitation(Refused):
    code = "unknown_invitation"
    http_status = 404


class InvitationUsed(Refused):
    """Too late to revoke the invitation: it has brought a worker."""

    code = "invitation_used"
    http_status = 409


def create_invitation(
    db: Database, settings: Settings, label: str, *, created_by: str | None, valid_for_seconds: float = 900
) -> NewInvitation:
    """A new open invitation of this box. `label` (1 to 80 characters) is for the admin's eyes.

    Raises InvitationNotPossible.
    """
    # here and not above: the worker's side imports this package too, and has no claim
    from appliance.claim.certificate import certificate_pin

    label = label.strip()
    if not 1 <= len(label) <= _LONGEST_LABEL or not label.isprintable():
        raise InvitationNotPossible(f"A label has 1 to {_LONGEST_LABEL} printable characters.", param="label")
    if not 0 < valid_for_seconds <= LONGEST_VALIDITY_SECONDS:
        raise InvitationNotPossible(
            "An invitation is valid for at most seven days.", param="valid_for_seconds"
        )
    pin = certificate_pin(settings)[:16]
    secret, at = secrets.token_bytes(16), now()
    with transaction(db):
        raw_id = secrets.token_bytes(4)
        while _find(db, raw_id.hex()) is not None:
            raw_id = secrets.token_bytes(4)
        db.execute(
            "INSERT INTO invitations (id, secret, label, created_by, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [raw_id.hex(), secret, label, created_by, at, at + valid_for_seconds],
        )
    code = format_code(InvitationCode(raw_id, secret, pin))
    return NewInvitation(raw_id.hex(), code, at + valid_for_seconds)


def list_invitations(db: Database) -> list[Invitation]:
    """All invitations, the newest first."""
    return [Invitation(**row) for row in db.query(f"{_SELECT} ORDER BY created_at DESC, id")]


def revoke_invitation(db: Database, invitation_id: str) -> None:
    """Nobody can redeem it from now on. Safe to repeat. Raises UnknownInvitation, InvitationUsed."""
    with transaction(db):
        if invitation_by_id(db, invitation_id).state(now()) is InvitationState.REDEEMED:
            raise InvitationUsed("The invitation was already used.", next_step="Revoke its worker.")
        db.execute(
            "UPDATE invitations SET revoked_at = COALESCE(revoked_at, ?), secret = NULL WHERE id = ?",
            [now(), invitation_id],
        )


def expire_invitations(db: Database) -> int:
    """Wipes the secrets that nobody may need any more; returns how many."""
    at = now()
    with transaction(db):
        return int(
            db.execute(
                """UPDATE invitations SET secret = NULL WHERE secret IS NOT NULL AND (
                    revoked_at IS NOT NULL
                    OR expires_at <= CASE WHEN redeemed_by IS NULL THEN :at ELSE :at - :kept END
                    OR EXISTS (SELECT 1 FROM workers
                               WHERE invitation_id = invitations.id AND state != 'pending'))""",
                {"at": at, "kept": _UNDECIDED_KEPT_SECONDS},
            ).rowcount
        )


def invitation_secret(db: Database, invitation_id: str) -> bytes | None:
    """The secret (16 bytes) while there is one; None also when there is no such invitation."""
    row = db.execute("SELECT secret FROM invitations WHERE id = ?", [invitation_id]).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def invitation_by_id(db: Database, invitation_id: str) -> Invitation:
    """Raises UnknownInvitation."""
    invitation = _find(db, invitation_id)
    if invitation is None:
        raise UnknownInvitation("There is no such invitation.")
    return invitation


def consume_invitation(db: Database, invitation_id: str, worker_id: str, at: float) -> None:
    """Marks the invitation as redeemed by `worker_id`. Call it inside the transaction that asked `rules`."""
    changed = db.execute(
        "UPDATE invitations SET redeemed_by = ?, redeemed_at = ?"
        " WHERE id = ? AND redeemed_by IS NULL AND revoked_at IS NULL AND expires_at > ?",
        [worker_id, at, invitation_id, at],
    ).rowcount
    if changed != 1:
        raise InvitationUsed("The invitation can't be redeemed any more.")


def _find(db: Database, invitation_id: str) -> Invitation | None:
    row = next(db.query(f"{_SELECT} WHERE id = ?", [invitation_id]), None)
    return None if row is None else Invitation(**row)
