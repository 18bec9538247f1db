"""One's own account: the password. With an initial password this is the only page until it is replaced."""

from flask import Blueprint, flash, make_response, redirect, render_template, request
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.people import (
    AuditEvent,
    PasswordRefused,
    PasswordUnchanged,
    TooManyAttempts,
    WrongPassword,
    change_password,
    forget_attempts,
    record_attempt,
)
from webadmin.audit_noting import noted
from webadmin.database import activity, cellule
from webadmin.refusals import explain
from webadmin.signin import client_address, open_session
from webadmin.visitor import home, signed_in

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
def show() -> Response:
    """The form."""
    return _form(200)


@blueprint.post("/account/password")
def replace_password() -> Response:
    """Replaces the password; every other session of the account ends."""
    account = signed_in()
    current, new = request.form.get("current", ""), request.form.get("new", "")
    try:
        # who finds an open browser must not be able to guess the password here
        attempt = record_attempt(activity(), account.name, client_address())
        change_password(cellule(), account, current, new)
    except (PasswordRefused, PasswordUnchanged) as error:
        forget_attempts(activity(), attempt, account.name)
        return _form(error.http_status, new=explain(error))
    except WrongPassword as error:
        return _form(error.http_status, current=explain(error))
    except TooManyAttempts as error:
        return _form(error.http_status, page=explain(error))
    forget_attempts(activity(), attempt, account.name)
    noted(AuditEvent.USER_PASSWORD_CHANGED)
    response = open_session(redirect(home(), 303), account)
    flash(gettext("Your password is changed. Other browsers were signed out."))
    return response


def _form(status: int, **errors: str) -> Response:
    return make_response(render_template("account.html", errors=errors), status)
