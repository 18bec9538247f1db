"""How models travel to PCs: when, how fast, how much of a disk they may fill, and how far each is."""

import json
from dataclasses import dataclass
from zoneinfo import available_timezones

from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.handout import HandoutChoice, handout_permission
from appliance.models import held_models
from appliance.people import AuditEvent
from appliance.storage import read_choice, write_choice
from webadmin import nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import activity, cellule
from webadmin.live import LiveState
from webadmin.typed_numbers import field_value, typed_number
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("model_handout", __name__)

DAYS = (
    lazy_gettext("Monday"),
    lazy_gettext("Tuesday"),
    lazy_gettext("Wednesday"),
    lazy_gettext("Thursday"),
    lazy_gettext("Friday"),
    lazy_gettext("Saturday"),
    lazy_gettext("Sunday"),
)
MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
HOURS = frozenset({"office_hours", "timezone"})
"""Fields of the choice that are told together."""
_RATES = ("box", "receive", "send", "busy")
_ROOMS = ("keep_free", "quota")


@dataclass(frozen=True)
class OnItsWay:
    """A model that a PC has or is getting; `trouble` is a sentence, "" while it goes on."""

    node: str
    model: str
    share: float
    have_bytes: int
    total_bytes: int
    from_workers_share: float
    is_complete: bool
    trouble: str


@blueprint.get("/models/handout")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/models/handout.json")
@admins_only
def changes() -> Response:
    """How far each PC is now."""
    return jsonify(_live_state(_on_their_way()).document())


@blueprint.post("/models/handout")
@admins_only
def choose() -> Response:
    """When models travel, how fast, and what room they have; all of it holds, or nothing is changed."""
    try:
        chosen = chosen_in(request.form)
    except ValidationError as error:
        return _page(400, wrong=frozenset(str(problem["loc"][0]) for problem in error.errors()))
    if chosen != read_choice(cellule(), HandoutChoice):
        write_choice(cellule(), chosen, chosen_by=signed_in().id)
        noted(AuditEvent.ADMIN_MODELS_CHANGED, detail=f"hand-out: {chosen.when}")
    flash(gettext("Saved."))
    return redirect(url_for("model_handout.show"), 303)


def chosen_in(form: MultiDict[str, str]) -> HandoutChoice:
    """Raises pydantic.ValidationError, which names each field that can't be taken."""
    hours = tuple(form.get(f"hours_{day}", "").replace(" ", "") for day in range(7))
    given: dict[str, object] = {f"{name}_bytes_per_second": _bytes(form.get(name, "")) for name in _RATES}
    given |= {f"{name}_bytes": _bytes(form.get(name, ""), GIGABYTE) for name in _ROOMS}
    given |= {"when": form.get("when", ""), "timezone": form.get("timezone", ""), "office_hours": hours}
    former = read_choice(cellule(), HandoutChoice)
    return HandoutChoice.model_validate(former.model_dump() | given)


def _bytes(typed: str, unit: int = MEGABYTE) -> object:
    """What isn't a number goes on as it is, for the check to name it."""
    try:
        return round(typed_number(typed or "0") * unit)
    except ValueError:
        return typed


def _on_their_way() -> list[OnItsWay]:
    names = {model.digest: model.name for model in held_models(cellule())}
    nodes = {node.id: node.name for node in nodes_in_words.fleet()}
    found = []
    for node, report in activity().execute("SELECT node, report FROM node_reports"):
        for model in json.loads(report).get("models", ()) if node in nodes else ():
            total = max(1, int(model["total_bytes"]))
            fetched = model["from_box_bytes"] + model["from_workers_bytes"]
            found.append(
                OnItsWay(
                    node=nodes[node],
                    model=names.get(model["digest"], model["digest"][:12]),
                    share=min(1.0, model["have_bytes"] / total),
                    have_bytes=model["have_bytes"],
                    total_bytes=model["total_bytes"],
                    from_workers_share=model["from_workers_bytes"] / fetched if fetched else 0.0,
                    is_complete=bool(model["is_complete"]),
                    trouble=str(model["trouble"]),
                )
            )
    return sorted(found, key=lambda each: (each.is_complete, each.node, each.model))


def _live_state(travelling: list[OnItsWay]) -> LiveState:
    return LiveState(
        shape=[[one.node, one.model, one.have_bytes, one.is_complete, one.trouble] for one in travelling],
        cells={},
    )


def _page(status: int, *, wrong: frozenset[str] = frozenset()) -> Response:
    choice = read_choice(cellule(), HandoutChoice)
    travelling = _on_their_way()
    kept = {name: field_value(getattr(choice, f"{name}_bytes_per_second") / MEGABYTE) for name in _RATES}
    kept |= {name: field_value(getattr(choice, f"{name}_bytes") / GIGABYTE) for name in _ROOMS}
    wrong_rooms = {f"{name}_bytes" for name in _ROOMS} & wrong
    page = render_template(
        "models_handout.html",
        choice=choice,
        days=DAYS,
        live=_live_state(travelling),
        permission=handout_permission(choice, now()),
        kept=kept,
        sent=request.form if status != 200 else {},
        travelling=travelling,
        wrong_hours=bool(wrong & HOURS),
        wrong_rooms=bool(wrong_rooms),
        wrong_speeds=bool(wrong - HOURS - wrong_rooms),
        zones=sorted(available_timezones()),
    )
    return make_response(page, status)
