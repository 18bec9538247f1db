"""From an invitation to a worker of the fleet: code, redemption, approval, tunnel, revocation.

Also imported on workers (`redeeming`, `contract`), so nothing heavy and nothing of the box alone is
imported here.
"""

from typing import TYPE_CHECKING

from appliance.enrolment.contract import DesiredState, WorkerFacts, WorkerReport, WorkerState
from appliance.enrolment.invitations import (
    create_invitation,
    expire_invitations,
    list_invitations,
    revoke_invitation,
)
from appliance.enrolment.records import Invitation, InvitationState, NewInvitation, Worker
from appliance.enrolment.workers import approve_worker, list_workers, revoke_worker
from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.enrolment.app import EnrolmentApp

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
    "make_enrolment_app",
    "revoke_invitation",
    "revoke_worker",
]


def make_enrolment_app(settings: Settings) -> "EnrolmentApp":
    """The ASGI application for every path under /enrol/."""
    from appliance.enrolment.app import EnrolmentApp

    return EnrolmentApp(settings)
