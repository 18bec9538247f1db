"""People who may sign in: add an employee with a password for one use, reset it, disable the account."""

from dataclasses import dataclass

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.errors import Refusal
from appliance.people import (
    Account,
    AuditEvent,
    Role,
    create_account,
    disable_account,
    enable_account,
    get_account,
    list_accounts,
    make_initial_password,
    reset_password,
)
from webadmin.audit_noting import noted
from webadmin.database import cellule
from webadmin.languages import language
from webadmin.refusals import explain
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("people", __name__)


@dataclass(frozen=True)
class Handover:
    """A password for one use, shown once to be handed to its owner."""

    name: str
    password: str


@blueprint.get("/people")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/people")
@admins_only
def add() -> Response:
    """Adds an account; the answer shows its initial password, this once."""
    name, role = request.form.get("name", ""), request.form.get("role", "")
    password = make_initial_password(name)
    try:
        account = create_account(
            cellule(),
            name,
            password,
            Role.ADMIN if role == Role.ADMIN else Role.USER,
            language(),
            must_change_password=True,
        )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), name=name)
    noted(AuditEvent.ADMIN_PERSON_ADDED, subject=account.name, detail=account.role.value)
    return _page(200, handover=Handover(account.name, password))


@blueprint.post("/people/<account_id>/reset")
@admins_only
def reset(account_id: str) -> Response:
    """Replaces a forgotten password by one for a single use."""
    account = _other(account_id)
    if account is None:
        return redirect(url_for("account.show"), 303)
    password = reset_password(cellule(), account_id)
    noted(AuditEvent.ADMIN_PASSWORD_RESET, subject=account.name)
    return _page(200, handover=Handover(account.name, password))


@blueprint.post("/people/<account_id>/disable")
@admins_only
def disable(account_id: str) -> Response:
    """Signs the account out everywhere and refuses it from now on."""
    account = _other(account_id)
    if account is None:
        flash(gettext("You can't disable your own account."))
    else:
        disable_account(cellule(), account_id)
        noted(AuditEvent.ADMIN_PERSON_DISABLED, subject=account.name)
        flash(gettext("%(name)s can't sign in any more.", name=account.name))
    return redirect(url_for("people.show"), 303)


@blueprint.post("/people/<account_id>/enable")
@admins_only
def enable(account_id: str) -> Response:
    """Lets a disabled account in again."""
    enable_account(cellule(), account_id)
    name = get_account(cellule(), account_id).name
    noted(AuditEvent.ADMIN_PERSON_ENABLED, subject=name)
    flash(gettext("%(name)s can sign in again.", name=name))
    return redirect(url_for("people.show"), 303)


def _other(account_id: str) -> Account | None:
    """The account, unless it is the visitor's own. Raises AccountUnknown."""
    account = get_account(cellule(), account_id)
    return None if account.id == signed_in().id else account


def _page(status: int, *, handover: Handover | None = None, error: str = "", name: str = "") -> Response:
    return make_response(
        render_template(
            "people.html",
            accounts=list_accounts(cellule()),
            handover=handover,
            error=error,
            name=name[:64],
            site=request.host_url,
        ),
        status,
    )
