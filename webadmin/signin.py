"""Signing in and out.

A wrong name and a wrong password get the same answer in the same time. Tries are counted per name and
per address before the password is looked at. A session starts fresh at each sign-in, with a new form secret.
"""

import math

from flask import Blueprint, make_response, redirect, render_template, request, session, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.claim import is_claimed
from appliance.people import (
    SESSION_COOKIE,
    Account,
    AuditEvent,
    NewSession,
    TooManyAttempts,
    authenticate,
    end_session,
    find_account,
    folded_name,
    forget_attempts,
    record_attempt,
    start_session,
)
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.languages import local_path
from webadmin.refusals import explain
from webadmin.visitor import client_address as client_address  # noqa: PLC0414 others ask here
from webadmin.visitor import current_account, home, public

blueprint = Blueprint("signin", __name__)


def open_session(response: Response, account: Account) -> Response:
    """Starts a session for `account` and puts its cookie on `response`."""
    started: NewSession = start_session(cellule(), account.id, replaces=request.cookies.get(SESSION_COOKIE))
    session.clear()
    response.set_cookie(
        SESSION_COOKIE,
        started.token,
        expires=int(started.expires_at),
        httponly=True,
        samesite="Strict",
        secure=box_settings().tls,
        path="/",
    )
    return response


@blueprint.get("/")
@public
def start() -> Response:
    """The address that people type."""
    if not is_claimed(cellule()):
        return redirect(url_for("claim.show"), 303)
    return redirect(home(), 303)


@blueprint.get("/sign-in")
@public
def show() -> Response:
    """The form; who is signed in already goes on to their work."""
    if not is_claimed(cellule()):
        return redirect(url_for("claim.show"), 303)
    if current_account():
        return redirect(local_path(request.args.get("next")) or home(), 303)
    return _form(200)


@blueprint.post("/sign-in")
@public
def sign_in() -> Response:
    """Checks name and password."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    folded = folded_name(name)[:100]
    try:
        attempt = record_attempt(activity(), folded, client_address())
    except TooManyAttempts as error:
        response = _form(429, explain(error), name)
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
        return response
    account = authenticate(cellule(), name, password)
    if account is None:
        # a name that nobody has may be a password that slipped into the wrong field
        known = find_account(cellule(), folded)
        noted(AuditEvent.VISITOR_SESSION_REFUSED, subject=known.name if known else "")
        return _form(401, gettext("Name or password is wrong."), name)
    forget_attempts(activity(), attempt, folded)
    noted(AuditEvent.USER_SESSION_OPENED, actor=account.name)
    target = local_path(request.form.get("next")) or url_for("signin.start")
    return open_session(redirect(target, 303), account)


def answer_stale_form() -> Response:
    """For a form from before another tab changed the session: on if signed in by now, else the form anew."""
    if current_account():
        return redirect(local_path(request.form.get("next")) or home(), 303)
    return _form(400, gettext("This page was too old. Please sign in again."), request.form.get("name", ""))


@blueprint.post("/sign-out")
@public
def sign_out() -> Response:
    """Ends the session in storage and in the browser."""
    if token := request.cookies.get(SESSION_COOKIE):
        if current_account():
            noted(AuditEvent.USER_SESSION_CLOSED)
        end_session(cellule(), token)
    session.clear()
    response = redirect(url_for("signin.show"), 303)
    response.delete_cookie(SESSION_COOKIE, path="/")
    # each tab keeps its own conversations; the one that signs out can't reach those of the others
    response.headers["Clear-Site-Data"] = '"storage"'
    return response


def _form(status: int, error: str = "", name: str = "") -> Response:
    target = local_path(request.values.get("next")) or ""
    return make_response(render_template("signin.html", error=error, name=name[:64], next=target), status)
