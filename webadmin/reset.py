"""Factory reset: the box forgets everything, its data's key first. Typed, never clicked by mistake."""

from flask import Blueprint, make_response, render_template, request
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.errors import Refusal
from appliance.host import brokered
from appliance.people import AuditEvent, record_audit
from webadmin.database import activity, box_settings
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("reset", __name__)
CONFIRMATION = "ERASE"
"""The same word in every language and on the console."""


@blueprint.get("/reset")
@admins_only
def show() -> Response:
    """What would be lost, and the form."""
    return _page(200)


@blueprint.post("/reset")
@admins_only
def reset() -> Response:
    """Erases the box once the word was typed."""
    if request.form.get("confirmation", "").strip().upper() != CONFIRMATION:
        return _page(400, error=gettext("Type %(word)s to erase the box.", word=CONFIRMATION))
    # before, for after it there is no trail: a journal that is sent elsewhere keeps it
    record_audit(
        activity(),
        AuditEvent.ADMIN_BOX_RESET,
        actor=signed_in().name,
        address=client_address(),
        detail="begun",
    )
    try:
        brokered(box_settings()).factory_reset()
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    return _page(200, begun=True)


def _page(status: int, *, error: str = "", begun: bool = False) -> Response:
    return make_response(
        render_template("reset.html", error=error, begun=begun, confirmation=CONFIRMATION), status
    )
