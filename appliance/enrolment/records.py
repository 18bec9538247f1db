"""Invitations and workers as the rest of the product sees them: without secrets."""

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.enrolment.contract import WorkerFacts, WorkerState


class InvitationState(StrEnum):
    """Open is the only state in which a new worker can redeem it."""

    OPEN = "open"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class NewInvitation:
    """An invitation just made. `code` is shown once; it is not stored as a whole anywhere."""

    id: str
    code: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True)
class Invitation:
    """Times are epoch seconds; `redeemed_by` is the id of the worker that it brought."""

    id: str
    label: str
    created_by: str | None
    created_at: float
    expires_at: float
    redeemed_by: str | None
    redeemed_at: float | None
    revoked_at: float | None

    def state(self, at: float) -> InvitationState:
        """What it is at the moment `at`."""
        if self.revoked_at is not None:
            return InvitationState.REVOKED
        if self.redeemed_by is not None:
            return InvitationState.REDEEMED
        return InvitationState.EXPIRED if at >= self.expires_at else InvitationState.OPEN


@dataclass(frozen=True)
class Worker:
    """`public_key` is WireGuard's, base64; `tunnel_address` is there once it was approved, and stays."""

    id: str
    name: str
    public_key: str
    invitation_id: str
    state: WorkerState
    short_code: str
    facts: WorkerFacts
    tunnel_address: str | None
    created_at: float
    approved_at: float | None
    approved_by: str | None
    revoked_at: float | None
