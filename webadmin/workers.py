"""The fleet: invite a PC, compare the short code and approve it, watch it work, take it out again."""

from dataclasses import dataclass

from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response

from appliance.accounting import NodeOverview
from appliance.clock import now
from appliance.enrolment import (
    Invitation,
    InvitationState,
    NewInvitation,
    Worker,
    WorkerState,
    approve_worker,
    create_invitation,
    list_invitations,
    list_workers,
    revoke_invitation,
    revoke_worker,
)
from appliance.errors import Refusal
from appliance.people import AuditEvent
from webadmin import nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import box_settings, cellule
from webadmin.layout import iso
from webadmin.live import LiveState
from webadmin.refusals import explain
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("workers", __name__)

VALIDITIES = {
    900: lazy_gettext("15 minutes"),
    3600: lazy_gettext("1 hour"),
    86400: lazy_gettext("1 day"),
    604800: lazy_gettext("7 days"),
}
"""Seconds that an invitation may be open; the first is the default."""


@dataclass(frozen=True)
class Fleet:
    """What the page lists, read at one moment."""

    open_invitations: list[Invitation]
    pending: list[Worker]
    approved: list[tuple[Worker, NodeOverview]]


@blueprint.get("/workers")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/workers.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_read_fleet()).document())


@blueprint.post("/workers/invitations")
@admins_only
def invite() -> Response:
    """Makes an invitation; the answer shows its code, this once."""
    valid_for = request.form.get("valid_for", "")
    seconds = int(valid_for) if valid_for.isascii() and valid_for.isdigit() else 0
    label = request.form.get("label", "")
    try:
        if seconds not in VALIDITIES:
            return _page(400, error=gettext("Choose how long the invitation is valid."), label=label)
        made = create_invitation(
            cellule(), box_settings(), label, created_by=signed_in().id, valid_for_seconds=seconds
        )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), label=label)
    noted(AuditEvent.ADMIN_WORKER_INVITED, subject=label)
    return _page(200, made=made, label=label)


@blueprint.post("/workers/invitations/<invitation_id>/revoke")
@admins_only
def withdraw(invitation_id: str) -> Response:
    """The code opens nothing any more."""
    revoke_invitation(cellule(), invitation_id)
    [label] = [each.label for each in list_invitations(cellule()) if each.id == invitation_id]
    noted(AuditEvent.ADMIN_INVITATION_WITHDRAWN, subject=label)
    flash(gettext("The invitation is withdrawn."))
    return redirect(url_for("workers.show"), 303)


@blueprint.post("/workers/<worker_id>/approve")
@admins_only
def approve(worker_id: str) -> Response:
    """Takes a worker in; its short code is the one that the admin has just compared."""
    worker = approve_worker(
        cellule(), worker_id, approved_by=signed_in().id, short_code=request.form.get("short_code", "")
    )
    noted(AuditEvent.ADMIN_WORKER_APPROVED, subject=worker.name, detail=worker.short_code)
    flash(gettext("%(name)s belongs to the fleet now.", name=worker.name))
    return redirect(url_for("workers.show"), 303)


@blueprint.post("/workers/<worker_id>/revoke")
@admins_only
def revoke(worker_id: str) -> Response:
    """Refuses a pending worker, or takes an approved one out."""
    revoke_worker(cellule(), worker_id)
    [name] = [worker.name for worker in list_workers(cellule()) if worker.id == worker_id]
    noted(AuditEvent.ADMIN_WORKER_REVOKED, subject=name)
    flash(gettext("The worker is out. It is cut off within two seconds."))
    return redirect(url_for("workers.show"), 303)


def _read_fleet() -> Fleet:
    at = now()
    workers = {worker.id: worker for worker in list_workers(cellule())}
    return Fleet(
        open_invitations=[
            invitation
            for invitation in list_invitations(cellule())
            if invitation.state(at) is InvitationState.OPEN
        ],
        pending=[worker for worker in workers.values() if worker.state is WorkerState.PENDING],
        approved=[(workers[node.id], node) for node in nodes_in_words.fleet() if node.id in workers],
    )


def _live_state(fleet: Fleet) -> LiveState:
    cells, moments = {}, {}
    for worker, node in fleet.approved:
        cells[f"{worker.id}.load"] = nodes_in_words.load(node)
        cells[f"{worker.id}.slots"] = nodes_in_words.occupation(node)
        cells[f"{worker.id}.speed"] = nodes_in_words.node_speed(node)
        if node.report_age_seconds is not None:
            moments[worker.id] = iso(now() - node.report_age_seconds)
    return LiveState(
        shape=[
            [invitation.id for invitation in fleet.open_invitations],
            [[worker.id, worker.short_code, worker.name] for worker in fleet.pending],
            [
                [worker.id, node.state, node.report_age_seconds is None, nodes_in_words.models(node)]
                for worker, node in fleet.approved
            ],
        ],
        cells=cells,
        moments=moments,
    )


def _page(status: int, *, made: NewInvitation | None = None, error: str = "", label: str = "") -> Response:
    fleet = _read_fleet()
    return make_response(
        render_template(
            "workers.html",
            fleet=fleet,
            live=_live_state(fleet),
            made=made,
            error=error,
            label=label[:80],
            validities=VALIDITIES,
            can_join=box_settings().tls,
            words=nodes_in_words,
            now=now(),
        ),
        status,
    )
