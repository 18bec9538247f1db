"""API keys: make one, shown once with examples to paste; see which are used; revoke."""

from dataclasses import dataclass
from pathlib import Path

from flask import (
    Blueprint,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask import (
    Response as FlaskResponse,
)
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response

from appliance.accounting import key_last_uses
from appliance.claim import authority_fingerprint, authority_path
from appliance.clock import now
from appliance.errors import Refusal
from appliance.people import (
    ApiKey,
    AuditEvent,
    NewApiKey,
    create_api_key,
    list_accounts,
    list_api_keys,
    revoke_api_key,
)
from webadmin import nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.refusals import explain
from webadmin.visitor import admins_only, public, signed_in

blueprint = Blueprint("keys", __name__)

DAY_SECONDS = 86400.0
EXPIRIES = {
    "90": lazy_gettext("90 days"),
    "30": lazy_gettext("30 days"),
    "7": lazy_gettext("7 days"),
    "365": lazy_gettext("1 year"),
    "never": lazy_gettext("Never"),
}
"""Days that a key may live; the first is the default."""


@dataclass(frozen=True)
class KeyLine:
    """One line of the list. Times are epoch seconds."""

    key: ApiKey
    owner: str
    last_used_at: float | None
    state: str
    """usable, expired or revoked"""


@blueprint.get("/keys")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/keys")
@admins_only
def create() -> Response:
    """Makes a key; the answer shows its secret, this once."""
    name, expiry = request.form.get("name", ""), request.form.get("expiry", "")
    if expiry not in EXPIRIES:
        return _page(400, error=gettext("Choose when the key expires."), name=name)
    expires_at = None if expiry == "never" else now() + int(expiry) * DAY_SECONDS
    try:
        made = create_api_key(cellule(), name, account_id=signed_in().id, expires_at=expires_at)
    except Refusal as error:
        return _page(error.http_status, error=explain(error), name=name)
    noted(AuditEvent.ADMIN_KEY_MADE, subject=made.record.name, detail=made.record.prefix)
    return _page(200, made=made)


@blueprint.post("/keys/<key_id>/revoke")
@admins_only
def revoke(key_id: str) -> Response:
    """The pool refuses the key within two seconds."""
    revoke_api_key(cellule(), key_id)
    [key] = [key for key in list_api_keys(cellule()) if key.id == key_id]
    noted(AuditEvent.ADMIN_KEY_REVOKED, subject=key.name, detail=key.prefix)
    flash(gettext("The key is revoked."))
    return redirect(url_for("keys.show"), 303)


@blueprint.get("/ca.crt")
@blueprint.get("/certificate.pem")
@public
def certificate() -> Response:
    """The certificate of the box's own authority, for browsers and programs that shall trust the box."""
    if not box_settings().tls:
        return redirect(url_for("signin.start"), 303)
    pem = authority_path(box_settings()).read_bytes()
    return FlaskResponse(
        pem,
        mimetype="application/x-x509-ca-cert",
        headers={"Content-Disposition": f"attachment; filename=cellule{Path(request.path).suffix}"},
    )


def key_state(key: ApiKey, at: float) -> str:
    """usable, expired or revoked at the moment `at`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= at else "usable"


def _lines() -> list[KeyLine]:
    at = now()
    owners = {account.id: account.name for account in list_accounts(cellule())}
    uses = key_last_uses(activity(), at)
    lines = [
        KeyLine(key, owners.get(key.account_id or "", ""), uses.get(key.id), key_state(key, at))
        for key in list_api_keys(cellule())
    ]
    return sorted(lines, key=lambda line: line.state != "usable")


def _page(status: int, *, made: NewApiKey | None = None, error: str = "", name: str = "") -> Response:
    models = [engine.model for node in nodes_in_words.fleet() for engine in node.engines if engine.ready]
    return make_response(
        render_template(
            "keys.html",
            lines=_lines(),
            made=made,
            error=error,
            name=name[:100],
            expiries=EXPIRIES,
            # the address under which the admin reached the box works for others in the same network
            api_base=f"{request.host_url}v1",
            site=request.host_url,
            model=models[0] if models else "cellule-demo",
            tls=box_settings().tls,
            fingerprint=authority_fingerprint(box_settings()) if box_settings().tls else "",
        ),
        status,
    )
