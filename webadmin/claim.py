"""The first page of a new box: whoever reads the claim code on its console becomes the first admin."""

import math

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.claim import AlreadyClaimed, WrongClaimCode, claim_box, is_claimed
from appliance.errors import Refusal, TryAgain
from appliance.people import AccountNameRefused, AuditEvent, PasswordRefused, record_audit
from webadmin.database import activity, box_settings, cellule
from webadmin.languages import LANGUAGES, language
from webadmin.refusals import explain
from webadmin.signin import client_address, open_session
from webadmin.visitor import home, public

blueprint = Blueprint("claim", __name__)


@blueprint.get("/claim")
@public
def show() -> Response:
    """The form, while the box is unclaimed."""
    if is_claimed(cellule()):
        return redirect(home(), 303)
    return _form(200)


@blueprint.post("/claim")
@public
def claim() -> Response:
    """Makes the first admin and signs them in."""
    chosen = request.form.get("language", "")
    try:
        account = claim_box(
            cellule(),
            activity(),
            box_settings(),
            code=request.form.get("code", ""),
            name=request.form.get("name", ""),
            password=request.form.get("password", ""),
            language=chosen if chosen in LANGUAGES else language(),
            address=client_address(),
        )
    except AlreadyClaimed as error:
        return make_response(
            render_template("error.html", status=error.http_status, title=explain(error), hint=""),
            error.http_status,
        )
    except Refusal as error:
        response = _form(error.http_status, error)
        if isinstance(error, TryAgain):
            response.headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
        return response
    record_audit(
        activity(), AuditEvent.ADMIN_BOX_CLAIMED, actor=account.name, address=client_address(), subject="box"
    )
    next_page = "wizard.show" if box_settings().appliance else "overview.show"
    return open_session(redirect(url_for(next_page), 303), account)


def _form(status: int, error: Refusal | None = None) -> Response:
    field = {WrongClaimCode: "code", AccountNameRefused: "name", PasswordRefused: "password"}
    at = field.get(type(error), "page") if error else ""
    return make_response(
        render_template(
            "claim.html",
            errors={at: explain(error)} if error else {},
            code=request.form.get("code", "")[:40],
            name=request.form.get("name", "")[:64],
            chosen=request.form.get("language") or language(),
        ),
        status,
    )
