"""From an invitation to a worker of the fleet: code, redemption, approval, tunnel, revocation.

Workers import modules of this package too (`redeeming`, `contract`), and have no database; others on the box
want no more than the addresses of the LAN. So each name is loaded when it is first asked for (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.enrolment.adopting import adopt_server, adopted_engines, found_servers, release_server
    from appliance.enrolment.app import EnrolmentApp
    from appliance.enrolment.contract import (
        DesiredEngine,
        DesiredState,
        WorkerFacts,
        WorkerReport,
        WorkerState,
    )
    from appliance.enrolment.invitations import (
        create_invitation,
        expire_invitations,
        list_invitations,
        revoke_invitation,
    )
    from appliance.enrolment.records import Invitation, InvitationState, NewInvitation, Worker
    from appliance.enrolment.workers import approve_worker, list_workers, revoke_worker

__all__ = [
    "DesiredEngine",
    "DesiredState",
    "Invitation",
    "InvitationState",
    "NewInvitation",
    "Worker",
    "WorkerFacts",
    "WorkerReport",
    "WorkerState",
    "adopt_server",
    "adopted_engines",
    "approve_worker",
    "create_invitation",
    "expire_invitations",
    "found_servers",
    "list_invitations",
    "list_workers",
    "make_enrolment_app",
    "release_server",
    "revoke_invitation",
    "revoke_worker",
]

_MODULE_OF = {
    "adopt_server": "adopting",
    "adopted_engines": "adopting",
    "found_servers": "adopting",
    "release_server": "adopting",
    "DesiredEngine": "contract",
    "DesiredState": "contract",
    "WorkerFacts": "contract",
    "WorkerReport": "contract",
    "WorkerState": "contract",
    "create_invitation": "invitations",
    "expire_invitations": "invitations",
    "list_invitations": "invitations",
    "revoke_invitation": "invitations",
    "Invitation": "records",
    "InvitationState": "records",
    "NewInvitation": "records",
    "Worker": "records",
    "approve_worker": "workers",
    "list_workers": "workers",
    "revoke_worker": "workers",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def make_enrolment_app(settings: Settings) -> "EnrolmentApp":
    """The ASGI application for every path under /enrol/."""
    from appliance.enrolment.app import EnrolmentApp

    return EnrolmentApp(settings)
