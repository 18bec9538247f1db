"""From an invitation to a worker of the fleet: code, redemption, approval, tunnel, revocation.

Also imported on workers (`redeeming`, `contract`), so nothing heavy and nothing of the box alone is
imported here.
"""

from appliance.enrolment.contract import DesiredState, WorkerFacts, WorkerReport, WorkerState
from appliance.enrolment.invitations import (
    create_invitation,
    expire_invitations,
    list_invitations,
    revoke_invitation,
)
from appliance.enrolment.records import Invitation, InvitationState, NewInvitation, Worker
from appliance.enrolment.workers import approve_worker, list_workers, revoke_worker

__all__ = [
    "DesiredState",
    "Invitation",
    "InvitationState",
    "NewInvitation",
    "Worker",
    "WorkerFacts",
    "WorkerReport",
    "WorkerState",
    "approve_worker",
    "create_invitation",
    "expire_invitations",
    "list_invitations",
    "list_workers",
    "revoke_invitation",
    "revoke_worker",
]
