"""The box as a machine: name, network, clock, certificate, connections outward, data, power, software.

What could cut everybody off is a guarded change: its page counts down and keeps it from the new address only.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from flask import (
    Blueprint,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.claim import authority_fingerprint, box_names
from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import Host, InvalidCertificate, MachinePlan, Outbound, brokered, check_certificate
from appliance.keeping import (
    BackupChoice,
    ChangeState,
    GuardedChange,
    backup_outbound,
    begin_certificate,
    begin_change,
    confirm_change,
    kind_of,
    last_change,
    pending_change,
    undo_change,
)
from appliance.people import AuditEvent, record_audit
from appliance.storage import read_choice
from appliance.updating import UpdateChoice, outbound_of
from webadmin.database import activity, box_settings, cellule
from webadmin.machine_forms import (
    certificate_problem,
    check_validity,
    name_and_time_of,
    network_of,
)
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("machine", __name__)
SBOM = Path("/usr/lib/cellule/sbom.cdx.json")


@blueprint.get("/machine")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/machine/network")
@admins_only
def change_network() -> Response:
    """Begins a guarded change of the network."""
    return _guarded(lambda before: before.model_copy(update={"network": network_of(request.form)}))


@blueprint.post("/machine/name")
@admins_only
def change_name() -> Response:
    """Name, time zone and time servers; another name is guarded, the rest holds at once."""
    return _guarded(lambda before: name_and_time_of(request.form, before))


@blueprint.post("/machine/outbound/close")
@admins_only
def close_outbound() -> Response:
    """Takes back one connection outward."""
    closed = request.form.get("connection", "")

    def without(before: MachinePlan) -> MachinePlan:
        left = tuple(each for each in before.outbound if f"{each.host}:{each.port}/{each.protocol}" != closed)
        return before.model_copy(update={"outbound": left})

    return _guarded(without)


@blueprint.post("/machine/certificate")
@admins_only
def change_certificate() -> Response:
    """Serves the company's certificate, or the box's own again, on trial."""
    certificate = key = None
    try:
        if request.form.get("do") != "own":
            certificate, key = request.form.get("certificate", ""), request.form.get("key", "")
            check_validity(check_certificate(certificate, key), now())
        begin_certificate(cellule(), _host(), certificate, key, by=signed_in().name, at=now())
    except InvalidCertificate as error:
        field = "key" if error.problem.startswith("key") else "certificate"
        return _page(400, error=certificate_problem(error), field=field)
    except Refusal as error:
        return _page(error.http_status, error=explain(error), field=error.param or "")
    _note("certificate")
    return redirect(url_for("machine.change"), 303)


@blueprint.get("/machine/change")
@admins_only
def change() -> str:
    """The change that counts down, or what became of the last one."""
    found = last_change(cellule())
    return render_template("machine_change.html", change=found, new_address=_address_then(found), error="")


@blueprint.get("/machine/change.json")
@admins_only
def change_state() -> Response:
    """For the page's script: {"state": ..., "applied": ...}; state is "" when there never was a change."""
    found = last_change(cellule())
    return jsonify(state=found.state if found else "", applied=bool(found and found.applied_at))


@blueprint.post("/machine/change/keep")
@admins_only
def keep_change() -> Response:
    """Confirms it, if this request came in by the new address."""
    try:
        confirm_change(
            cellule(),
            activity(),
            _host(),
            request.form.get("change", ""),
            site=_site(),
            by=signed_in().name,
            address=client_address(),
            at=now(),
        )
    except Refusal as error:
        found = last_change(cellule())
        page = render_template(
            "machine_change.html", change=found, new_address=_address_then(found), error=explain(error)
        )
        return make_response(page, error.http_status)
    flash(gettext("The change is kept."))
    return redirect(url_for("machine.show"), 303)


@blueprint.post("/machine/change/undo")
@admins_only
def take_back() -> Response:
    """Undoes it now."""
    try:
        undo_change(cellule(), activity(), _host(), at=now())
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    return redirect(url_for("machine.change"), 303)


@blueprint.post("/machine/power")
@admins_only
def power() -> Response:
    """Restarts the box or turns it off."""
    off = request.form.get("do") == "off"
    _note("power-off" if off else "restart")
    try:
        _host().power_off() if off else _host().reboot()
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    return make_response(render_template("machine_power.html", off=off))


@blueprint.get("/machine/software")
@admins_only
def software() -> str:
    """What the running release is made of."""
    parts = _parts()
    words = request.args.get("q", "").lower().split()
    shown = [part for part in parts if all(word in " ".join(part.values()).lower() for word in words)]
    return render_template(
        "machine_software.html", parts=shown, count=len(parts), q=request.args.get("q", "")
    )


@blueprint.get("/machine/software.cdx.json")
@admins_only
def software_file() -> Response:
    """The same as CycloneDX, for the company's own tools."""
    if not SBOM.exists():
        return redirect(url_for("machine.software"), 303)
    return send_file(SBOM, mimetype="application/vnd.cyclonedx+json", as_attachment=True)


def _guarded(change_of: Callable[[MachinePlan], MachinePlan]) -> Response:
    """Begins the change that leads to the plan, or makes it at once when it can cut nobody off."""
    try:
        host = _host()
        before = host.machine_plan()
        plan = change_of(before)
        kind = kind_of(before, plan)
        if plan == before:
            flash(gettext("Nothing was changed."))
            return redirect(url_for("machine.show"), 303)
        if kind is not None:
            begin_change(cellule(), host, plan, kind, by=signed_in().name, at=now())
            _note(kind)
            return redirect(url_for("machine.change"), 303)
        if pending_change(cellule()) is not None:
            return redirect(url_for("machine.change"), 303)
        host.apply_machine(plan)
    except Refusal as error:
        return _page(error.http_status, error=explain(error), field=error.param or "")
    _note("time", f"{plan.timezone} {' '.join(plan.ntp_servers)}")
    flash(gettext("Saved."))
    return redirect(url_for("machine.show"), 303)


def _page(status: int, *, error: str = "", field: str = "") -> Response:
    settings = box_settings()
    try:
        host = _host()
        facts: dict[str, Any] = {"status": host.machine_status(), "plan": host.machine_plan(), "trouble": ""}
    except Refusal as refusal:
        facts = {"status": None, "plan": None, "trouble": explain(refusal)}
    page = render_template(
        "machine.html",
        error=error,
        field_name=field,
        typed=request.form,
        pending=pending_change(cellule()),
        zones=sorted(available_timezones()),
        fingerprint=authority_fingerprint(settings) if settings.tls else "",
        names=box_names(settings),
        kept_open=_kept_open(),
        recovery_page=url_for("wizard.show", step_id="recovery-key"),
        **facts,
    )
    return make_response(page, status)


def _kept_open() -> dict[Outbound, tuple[str, str]]:
    """Connections that the box opens for a choice: where that is made, and in which words."""
    updates = (url_for("updates.show"), gettext("closed on the page Updates"))
    backups = (url_for("backups.show"), gettext("closed on the page Backups"))
    return dict.fromkeys(outbound_of(read_choice(cellule(), UpdateChoice)), updates) | dict.fromkeys(
        backup_outbound(read_choice(cellule(), BackupChoice)), backups
    )


def _host() -> Host:
    return brokered(box_settings())


def _site() -> str:
    """The name or address that this request was sent to."""
    return request.host.rpartition(":")[0] or request.host


def _note(subject: str, detail: str = "") -> None:
    record_audit(
        activity(),
        AuditEvent.ADMIN_MACHINE_CHANGED,
        actor=signed_in().name,
        address=client_address(),
        subject=subject,
        detail=detail,
    )


def _address_then(change: GuardedChange | None) -> str:
    """Where the box is after the change, as a link to this page there; "" when it stays or isn't known."""
    if change is None or change.state is not ChangeState.PENDING or change.new_site in ("", _site()):
        return ""
    port = request.host.rpartition(":")[2] if ":" in request.host else ""
    return f"{request.scheme}://{change.new_site}{':' + port if port else ''}{url_for('machine.change')}"


def _parts() -> list[dict[str, str]]:
    """Each component: kind, name, version, licence; the box's wheels, Debian packages and model."""
    if not SBOM.exists():
        return []
    components = json.loads(SBOM.read_bytes()).get("components", [])
    parts = [
        {
            "kind": _kind(component),
            "name": component.get("name", ""),
            "version": component.get("version", ""),
            "licence": _licence(component),
        }
        for component in components
    ]
    return sorted(parts, key=lambda part: (part["kind"], part["name"].lower()))


def _kind(component: dict[str, Any]) -> str:
    if component.get("type") == "machine-learning-model":
        return "model"
    scheme = component.get("purl", "").removeprefix("pkg:").partition("/")[0]
    return {"deb": "Debian", "pypi": "Python"}.get(scheme, scheme or component.get("type", ""))


def _licence(component: dict[str, Any]) -> str:
    found = (
        each.get("expression") or each.get("license", {}).get("id") or each.get("license", {}).get("name", "")
        for each in component.get("licenses", [])
    )
    return ", ".join(filter(None, found))
