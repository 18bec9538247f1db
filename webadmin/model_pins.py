"""Where a model must or must never be loaded: an admin's wishes, which the next plan follows."""

from flask import Blueprint, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from appliance.models import held_model
from appliance.people import AuditEvent
from appliance.placement import Pin, remove_pin, set_pin
from webadmin import nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import cellule
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("model_pins", __name__)


@blueprint.post("/models/pins")
@admins_only
def wish() -> Response:
    """Always on a machine, never on it, or as the plan says."""
    model, node = held_model(cellule(), request.form.get("model", "")), request.form.get("node", "")
    names = {each.id: each.name for each in nodes_in_words.fleet()}
    wanted = request.form.get("wish", "")
    if wanted not in ("always", "never", "plan") or (node not in names and wanted != "plan"):
        raise BadRequest
    if wanted == "plan":
        remove_pin(cellule(), node, model.name, chosen_by=signed_in().id)
    else:
        pin = Pin(node=node, model=model.name, never=wanted == "never")
        set_pin(cellule(), pin, chosen_by=signed_in().id)
    detail = (
        f"{wanted} on {names.get(node, node)}"
        if wanted != "plan"
        else f"as planned on {names.get(node, node)}"
    )
    noted(AuditEvent.ADMIN_MODELS_CHANGED, subject=model.name, detail=detail)
    flash(gettext("Saved. The next plan follows it."))
    return redirect(url_for("models.show", _anchor=f"model-{model.name}"), 303)
