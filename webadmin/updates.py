"""Releases for admins: what runs, what waits for a restart, what was found and why it waits.

The page orders and records; the core does it. It works without scripts; with them it follows by itself.
"""

from dataclasses import dataclass

from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from appliance.boot import given_up_releases
from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import brokered
from appliance.people import AuditEvent, record_audit
from appliance.storage import read_choice, write_choice
from appliance.updating import (
    Box,
    ChannelState,
    Check,
    Facts,
    Install,
    Origin,
    Progress,
    UpdateChoice,
    ask_check,
    channel_state,
    found_releases,
    gather_facts,
    judge,
    list_installs,
    look_soon,
    newest_check,
    order_install,
    progress_of,
    read_box,
    release_states,
    restart_soon,
    seconds_left,
)
from webadmin import updates_in_words
from webadmin.database import activity, box_settings, cellule
from webadmin.live import LiveState
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("updates", __name__)


@dataclass(frozen=True)
class Recorded:
    """What the core has recorded: all that changes while somebody looks."""

    installs: list[Install]
    progress: Progress | None
    channel: ChannelState | None
    check: Check | None
    choice: UpdateChoice

    @property
    def moving(self) -> Install | None:
        """The install that is ordered or running."""
        newest = self.installs[0] if self.installs else None
        return newest if newest and newest.stage.is_under_way else None


@blueprint.get("/updates")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/updates.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_recorded()).document())


@blueprint.post("/updates/install")
@admins_only
def install() -> Response:
    """Orders the install of a release that was found, window or not."""
    try:
        version = _order()
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    flash(gettext("Release %(version)s is being installed.", version=version))
    return redirect(url_for("updates.show"), 303)


@blueprint.post("/updates/restart")
@admins_only
def restart() -> Response:
    """Restarts into the installed release."""
    try:
        if read_choice(cellule(), UpdateChoice).hold:
            raise updates_in_words.NotInstallable(gettext("All releases are on hold."))
        installed = restart_soon(cellule())
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    _audit(AuditEvent.ADMIN_RELEASE_RESTART, installed.version)
    flash(gettext("The box restarts into release %(version)s.", version=installed.version))
    return redirect(url_for("updates.show"), 303)


@blueprint.post("/updates/look")
@admins_only
def look() -> Response:
    """Has the core look at the channel at its next turn."""
    look_soon(activity())
    flash(gettext("The box looks at the channel within half a minute."))
    return redirect(url_for("updates.show"), 303)


@blueprint.post("/updates/stick")
@admins_only
def stick() -> Response:
    """Has the core look at the USB stick."""
    try:
        ask_check(activity(), Origin.STICK, path="", name="USB", by=signed_in().name, at=now())
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    _audit(AuditEvent.ADMIN_RELEASE_STICK, "")
    return redirect(url_for("updates.show"), 303)


@blueprint.post("/updates/hold")
@admins_only
def hold() -> Response:
    """Holds all releases, or lets them go again."""
    held = request.form.get("hold") == "yes"
    _choose(read_choice(cellule(), UpdateChoice).model_copy(update={"hold": held}))
    flash(
        gettext("No release is installed until you lift the hold.")
        if held
        else gettext("The hold is lifted.")
    )
    return redirect(url_for("updates.show"), 303)


@blueprint.post("/updates/choices")
@admins_only
def choose() -> Response:
    """The channel, the window, and whether the box installs by itself."""
    try:
        chosen = chosen_in(request.form, read_choice(cellule(), UpdateChoice))
    except ValidationError as error:
        fields = {str(part) for problem in error.errors() for part in problem["loc"][:1]}
        return _page(400, wrong=fields, form=request.form)
    _choose(chosen)
    flash(gettext("Saved."))
    return redirect(url_for("updates.show"), 303)


def chosen_in(form: MultiDict[str, str], former: UpdateChoice) -> UpdateChoice:
    """What a form says. Raises pydantic.ValidationError."""
    return UpdateChoice.model_validate(
        {
            "channel_url": form.get("channel_url", "").strip() or None,
            "automatic": form.get("automatic") == "yes",
            "hold": former.hold,
            "window": {
                "days": form.getlist("days"),
                "begins": form.get("begins", ""),
                "ends": form.get("ends", ""),
            },
        }
    )


def _order() -> str:
    """The version that is ordered. Raises Refusal."""
    version, origin = request.form.get("version", ""), request.form.get("origin", "")
    found = next(
        (
            each
            for each in found_releases(activity())
            if (each.release.version, each.origin.value) == (version, origin)
        ),
        None,
    )
    known = _box_and_facts()
    blocking = judge(found, known[1]).blocking if found and known else ()
    if found is None or known is None or blocking:
        reasons = map(updates_in_words.reason, blocking)
        raise updates_in_words.NotInstallable(
            " ".join([gettext("This release can't be installed now."), *reasons])
        )
    if found.expired_at is not None and request.form.get("confirmed") != "yes":
        raise updates_in_words.NotConfirmed(gettext("Confirm that you trust where this copy comes from."))
    at_once = request.form.get("restart") == "now"
    order_install(cellule(), found, by=signed_in().name, restart_now=at_once, at=now())
    detail = f"{origin}, restart {'at once' if at_once else 'in the window'}"
    _audit(AuditEvent.ADMIN_RELEASE_INSTALL, version, detail)
    return version


def _choose(choice: UpdateChoice) -> None:
    former = read_choice(cellule(), UpdateChoice)
    if choice != former:
        write_choice(cellule(), choice, chosen_by=signed_in().id)
        _audit(AuditEvent.ADMIN_UPDATES_CHANGED, "", updates_in_words.what_changed(former, choice))


def _audit(event: AuditEvent, subject: str, detail: str = "") -> None:
    record_audit(
        activity(), event, actor=signed_in().name, address=client_address(), subject=subject, detail=detail
    )


def _recorded() -> Recorded:
    installs = list_installs(cellule())
    return Recorded(
        installs,
        progress_of(activity(), installs[0]) if installs else None,
        channel_state(activity()),
        newest_check(activity()),
        read_choice(cellule(), UpdateChoice),
    )


def _box_and_facts() -> tuple[Box, Facts] | None:
    """None where the machine is no appliance. Raises HostUnavailable."""
    host = brokered(box_settings())
    box = read_box(host)
    if box is None:
        return None
    return box, gather_facts(box_settings(), cellule(), box, host.machine_plan().timezone, at=now())


def _live_state(recorded: Recorded) -> LiveState:
    cells, shares = {}, {}
    if moving := recorded.moving:
        left = seconds_left(moving, recorded.progress)
        cells = {
            "percent": updates_in_words.percent(recorded.progress),
            "step": updates_in_words.step(moving, recorded.progress),
            "left": updates_in_words.time_left(left),
        }
        shares = {"install": (recorded.progress.percent if recorded.progress else 0) / 100}
    if (check := recorded.check) and not check.state.is_over:
        cells["checked"] = updates_in_words.checked(check)
        shares["check"] = check.done_bytes / check.size_bytes if check.size_bytes else 0
    return LiveState(shape=_shape(recorded), cells=cells, shares=shares)


def _shape(recorded: Recorded) -> list[object]:
    channel, check = recorded.channel, recorded.check
    return [
        [[install.id, install.stage, install.restart_now] for install in recorded.installs],
        [channel.url, channel.code, channel.answered_at] if channel else None,
        [check.id, check.state] if check else None,
        [[found.release.version, found.origin, found.found_at] for found in found_releases(activity())],
        recorded.choice.model_dump_json(),
    ]


def _page(
    status: int,
    *,
    error: str = "",
    wrong: set[str] | None = None,
    form: MultiDict[str, str] | None = None,
) -> Response:
    recorded = _recorded()
    trouble, states = "", None
    try:
        if known := _box_and_facts():
            states = release_states(found_releases(activity()), recorded.installs, *known)
    except Refusal as refusal:
        trouble = explain(refusal)
    return make_response(
        render_template(
            "updates.html",
            recorded=recorded,
            states=states,
            trouble=trouble,
            live=_live_state(recorded),
            error=error,
            wrong=wrong or set(),
            form=form,
            words=updates_in_words,
            told={release.version: release.story for release in given_up_releases(cellule())},
        ),
        status,
    )
