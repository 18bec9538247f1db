"""Help from the vendor: a bundle that an admin reads before it leaves, a session that one opens and cuts.

The banner of an open session stands on every page, for everybody.
"""

import sqlite3

from flask import (
    Blueprint,
    Flask,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_babel import gettext, lazy_gettext, ngettext
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import brokered
from appliance.people import AuditEvent, AuditFilter, AuditLine, audit_lines
from appliance.support import (
    HOURS_OFFERED,
    LONGEST_REQUEST_CHARACTERS,
    Bundle,
    BundleState,
    Ending,
    RequestOutOfTime,
    Session,
    cut_session,
    discard_bundle,
    load_vendor,
    open_now,
    open_session,
    past_sessions,
    read_bundle_file,
    read_bundle_state,
    request_bundle,
    seal_bundle,
)
from webadmin import figures
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.layout import datetime_text
from webadmin.live import LiveState
from webadmin.refusals import explain
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("support", __name__)

COMMANDS_SHOWN = 50
ENDINGS = {
    Ending.CUT: lazy_gettext("cut by an admin"),
    Ending.TIME: lazy_gettext("its time was over"),
    Ending.RESTART: lazy_gettext("the box restarted"),
}
SOURCES = {
    "machine": lazy_gettext("the machine"),
    "settings": lazy_gettext("settings"),
    "jobs": lazy_gettext("jobs"),
    "boots": lazy_gettext("starts"),
    "storage": lazy_gettext("storage"),
    "hardware": lazy_gettext("hardware"),
    "packages": lazy_gettext("software"),
    "logs": lazy_gettext("logs"),
}
REMOVALS = {
    "user": lazy_gettext("account names"),
    "worker": lazy_gettext("names of workers"),
    "label": lazy_gettext("labels"),
    "e-mail": lazy_gettext("e-mail addresses"),
    "address": lazy_gettext("network addresses"),
    "known-secret": lazy_gettext("secrets of this box"),
    "wireguard-key": lazy_gettext("tunnel keys"),
    "password": lazy_gettext("passwords"),
    "initial-password": lazy_gettext("initial passwords"),
    "api-key": lazy_gettext("API keys"),
    "token": lazy_gettext("session tokens"),
    "cookie": lazy_gettext("cookies"),
    "authorization": lazy_gettext("authorizations"),
    "pem": lazy_gettext("certificates and keys"),
    "age-key": lazy_gettext("encryption keys"),
    "invitation": lazy_gettext("invitations"),
    "recovery-key": lazy_gettext("recovery keys"),
    "code": lazy_gettext("claim codes and backup keys"),
}


@blueprint.get("/support")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/support.json")
@admins_only
def changes() -> Response:
    """What changed on the page: the progress of a bundle, the commands of a session."""
    return jsonify(_live_state(read_bundle_state(box_settings()), open_now(cellule())).document())


@blueprint.post("/support/bundle")
@admins_only
def make() -> Response:
    """Asks for a bundle; the page follows its progress."""
    try:
        request_bundle(
            box_settings(), admin=signed_in(), hide_addresses=request.form.get("hide_addresses") == "yes"
        )
    except Refusal as error:
        return _page(error.http_status, bundle_error=explain(error))
    return redirect(url_for("support.show"), 303)


@blueprint.get("/support/bundle/<path:path>")
@admins_only
def read(path: str) -> Response:
    """One file as the vendor would see it."""
    try:
        text = read_bundle_file(box_settings(), path)
    except Refusal as error:
        return _page(error.http_status, bundle_error=explain(error))
    [file] = [file for file in read_bundle_state(box_settings()).files if file.path == path]
    return make_response(render_template("support_file.html", file=file, text=text, removal=removal))


@blueprint.post("/support/bundle/download")
@admins_only
def download() -> Response:
    """The bundle, encrypted for the vendor alone."""
    try:
        sealed = seal_bundle(box_settings())
    except Refusal as error:
        return _page(error.http_status, bundle_error=explain(error))
    noted(AuditEvent.ADMIN_BUNDLE_TAKEN, detail=f"{len(sealed)} bytes")
    response = make_response(sealed)
    response.mimetype = "application/octet-stream"
    response.headers["Content-Disposition"] = 'attachment; filename="cellule-support.tar.gz.age"'
    return response


@blueprint.post("/support/bundle/discard")
@admins_only
def discard() -> Response:
    """Takes the bundle off the box."""
    try:
        discard_bundle(box_settings())
    except Refusal as error:
        return _page(error.http_status, bundle_error=explain(error))
    flash(gettext("The bundle is gone."))
    return redirect(url_for("support.show"), 303)


@blueprint.post("/support/session")
@admins_only
def consent() -> Response:
    """Opens a session with the vendor's request."""
    hours = request.form.get("hours", "")
    try:
        open_session(
            cellule(),
            activity(),
            brokered(box_settings()),
            box_settings(),
            text=request.form.get("request", ""),
            hours=int(hours) if hours.isascii() and hours.isdigit() else 0,
            reason=request.form.get("reason", ""),
            admin=signed_in(),
            address=client_address(),
        )
    except Refusal as error:
        return _page(error.http_status, session_error=_session_error(error), field=error.param or "")
    return redirect(url_for("support.show"), 303)


@blueprint.post("/support/session/cut")
@admins_only
def cut() -> Response:
    """Ends the session now."""
    try:
        was_open = cut_session(
            cellule(), activity(), brokered(box_settings()), admin=signed_in(), address=client_address()
        )
    except Refusal as error:
        return _page(error.http_status, session_error=explain(error))
    flash(gettext("Support is cut off.") if was_open else gettext("No session was open."))
    return redirect(url_for("support.show"), 303)


def install(app: Flask) -> None:
    """Gives every page the banner."""
    app.jinja_env.globals["support_session"] = banner_session


def banner_session() -> Session | None:
    """The session that is open at this moment."""
    try:
        session = open_now(cellule())
    except sqlite3.DatabaseError:
        # the page that tells of damaged storage stands in the same frame
        return None
    return session if session is not None and session.until > now() else None


def removal(name: str) -> str:
    """What a kind of removal is called."""
    return str(REMOVALS.get(name, name))


def source_text(name: str) -> str:
    """What a part of the bundle is about."""
    return str(SOURCES.get(name, name))


def hours_text(hours: int) -> str:
    return ngettext("%(num)s hour", "%(num)s hours", hours)


def _session_error(error: Refusal) -> str:
    if isinstance(error, RequestOutOfTime):
        return gettext(
            "By the clock of this box (%(time)s) the request is over or not valid yet. "
            "If the clock is right, ask the vendor for a new request.",
            time=datetime_text(error.clock_at),
        )
    return explain(error)


def _live_state(bundle: Bundle, session: Session | None) -> LiveState:
    return LiveState(
        shape=[bundle.state, session.id if session else "", [line.id for line in _commands(session)]],
        cells={
            "bundle.percent": figures.percent(bundle.percent / 100),
            "bundle.step": source_text(bundle.step),
        },
        shares={"bundle.share": bundle.percent / 100},
    )


def _commands(session: Session | None) -> list[AuditLine]:
    """What the vendor did in this session, the last first."""
    if session is None:
        return []
    since = AuditFilter(source="vendor", since=session.opened_at)
    return audit_lines(activity(), only=since, limit=COMMANDS_SHOWN)


def _page(status: int, *, bundle_error: str = "", session_error: str = "", field: str = "") -> Response:
    bundle, session = read_bundle_state(box_settings()), open_now(cellule())
    try:
        load_vendor(box_settings().vendor_support_file)
        vendor_error = ""
    except Refusal as error:
        vendor_error = explain(error)
    return make_response(
        render_template(
            "support.html",
            bundle=bundle,
            states=BundleState,
            session=session,
            past=past_sessions(cellule()),
            commands=_commands(session),
            live=_live_state(bundle, session),
            vendor_error=vendor_error,
            bundle_error=bundle_error,
            session_error=session_error,
            field=field,
            typed=request.form,
            hours_offered=HOURS_OFFERED,
            hours_text=hours_text,
            longest_request=LONGEST_REQUEST_CHARACTERS,
            endings=ENDINGS,
            removal=removal,
            source_text=source_text,
        ),
        status,
    )
