"""Gets of models that are under way or were refused: cancel one, ask for one again, put a refusal away."""

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.models import ask_cancel, ask_get, dismiss_refused
from appliance.people import AuditEvent
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.model_shelf import asked_get
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("model_gets", __name__)


@blueprint.post("/models/gets/<get_id>/cancel")
@admins_only
def cancel(get_id: str) -> Response:
    """What came is thrown away within a second."""
    get = asked_get(get_id)
    ask_cancel(activity(), get.id)
    noted(AuditEvent.ADMIN_MODEL_GET, subject=get.name, detail="cancelled")
    flash(gettext("%(name)s is being cancelled.", name=get.name))
    return redirect(url_for("models.show"), 303)


@blueprint.post("/models/gets/<get_id>/again")
@admins_only
def again(get_id: str) -> Response:
    """The same order once more."""
    former = asked_get(get_id)
    ask_get(
        box_settings(),
        cellule(),
        activity(),
        former.name,
        former.order,
        by=signed_in().name,
        at=now(),
        address=client_address(),
    )
    return redirect(url_for("models.show"), 303)


@blueprint.post("/models/gets/<get_id>/dismiss")
@admins_only
def dismiss(get_id: str) -> Response:
    """Why it was refused is read; the audit trail keeps it."""
    dismiss_refused(activity(), asked_get(get_id).id)
    return redirect(url_for("models.show"), 303)
