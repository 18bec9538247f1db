"""The models of the box: which there are, where each is loaded, what it needs, which alias goes to it.

The page orders; the core gets, checks and removes. It works without scripts; with them it follows by itself.
"""

from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.errors import Refusal
from appliance.models import (
    DEFAULT_ALIAS,
    OFFERED_ALIASES,
    LifecycleState,
    ask_check,
    held_model,
    list_aliases,
    move_alias,
    remove_alias,
    remove_model,
)
from appliance.people import AuditEvent
from appliance.placement import CopiesRefused, unload_model, wish_copies
from appliance.settings import BOX_NODE
from webadmin import models_in_words, nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.live import LiveState
from webadmin.model_shelf import Shelf, read_shelf
from webadmin.refusals import explain
from webadmin.visitor import admins_only, client_address, signed_in

blueprint = Blueprint("models", __name__)

MOST_FITS = 20
"""Machines listed for each model: more of them make the page of a large fleet slow, and nobody reads them."""


@blueprint.get("/models")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/models.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(read_shelf()).document())


@blueprint.post("/models/aliases")
@admins_only
def point() -> Response:
    """Moves an alias, or makes one."""
    alias, model = request.form.get("alias", "").strip(), request.form.get("model", "")
    try:
        move_alias(
            cellule(),
            activity(),
            alias,
            model,
            by=signed_in().name,
            at=now(),
            address=client_address(),
            served=read_shelf().elsewhere,
        )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong="alias", typed=alias)
    flash(gettext("Who asks for “%(alias)s” gets %(model)s from now on.", alias=alias, model=model))
    return _back("aliases")


@blueprint.post("/models/aliases/remove")
@admins_only
def take_alias_away() -> Response:
    """Requests that name it are refused from now on; "default" goes back to the demo model."""
    alias = request.form.get("alias", "")
    remove_alias(cellule(), activity(), alias, by=signed_in().name, address=client_address())
    if alias == DEFAULT_ALIAS:
        flash(gettext("“default” goes to the demo model again."))
    else:
        flash(gettext("There is no alias “%(alias)s” any more.", alias=alias))
    return _back("aliases")


@blueprint.post("/models/replace")
@admins_only
def replace() -> Response:
    """Moves every alias of a model to the one that follows it."""
    name, successor = request.form.get("name", ""), request.form.get("successor", "")
    try:
        former = held_model(cellule(), name)
        pointing = [each.alias for each in list_aliases(cellule()) if each.model == former.name]
        for alias in pointing:
            move_alias(
                cellule(),
                activity(),
                alias,
                successor,
                by=signed_in().name,
                at=now(),
                address=client_address(),
            )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=name)
    flash(gettext("The aliases of %(name)s go to %(successor)s now.", name=name, successor=successor))
    return _back()


@blueprint.post("/models/check")
@admins_only
def check() -> Response:
    """Has the core read every byte of a model again."""
    name = request.form.get("name", "")
    try:
        model = ask_check(cellule(), activity(), name, at=now())
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=name)
    noted(AuditEvent.ADMIN_MODEL_CHECKED, subject=model.name)
    return _back(f"model-{model.name}")


@blueprint.post("/models/unload")
@admins_only
def unload() -> Response:
    """Takes a model out of a machine's memory; its files stay."""
    name, node = request.form.get("name", ""), request.form.get("node", "")
    try:
        model = held_model(cellule(), name)
        unload_model(cellule(), node, model.name, at=now(), chosen_by=signed_in().id)
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=name)
    noted(AuditEvent.ADMIN_MODELS_CHANGED, subject=model.name, detail=f"unloaded from {node}")
    flash(
        gettext(
            "%(name)s leaves the memory once its running answers are given."
            " It comes back when somebody asks for it.",
            name=model.name,
        )
    )
    return _back(f"model-{model.name}")


@blueprint.post("/models/copies")
@admins_only
def wish() -> Response:
    """On how many machines a model is loaded at least; nothing: as many as requests need."""
    name, typed = request.form.get("name", ""), request.form.get("copies", "").strip()
    try:
        model = held_model(cellule(), name)
        if typed and not (typed.isascii() and typed.isdigit()):
            raise CopiesRefused(f"“{typed[:20]}” is no number of machines.", next_step="Give a whole number.")
        copies = int(typed[:9] or 0)
        wish_copies(cellule(), model.name, copies, chosen_by=signed_in().id)
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=name, typed=typed)
    noted(AuditEvent.ADMIN_MODELS_CHANGED, subject=model.name, detail=f"on {copies} machines at least")
    flash(gettext("Saved. The next plan follows it."))
    return _back(f"model-{model.name}")


@blueprint.post("/models/remove")
@admins_only
def remove() -> Response:
    """Takes a model off the box."""
    name = request.form.get("name", "")
    try:
        model = remove_model(
            box_settings(), cellule(), activity(), name, by=signed_in().name, address=client_address()
        )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), wrong=name)
    flash(gettext("%(name)s is removed.", name=model.name))
    return _back()


def _back(anchor: str = "") -> Response:
    return redirect(url_for("models.show", _anchor=anchor or None), 303)


def _live_state(shelf: Shelf) -> LiveState:
    cells, shares = {}, {}
    for get in shelf.under_way:
        cells[f"get-{get.id}"] = models_in_words.progress(get)
        shares[f"get-{get.id}"] = get.done_bytes / get.size_bytes if get.size_bytes else 0.0
    for each in shelf.models:
        if each.check and each.check.is_under_way:
            shares[f"check-{each.model.name}"] = each.check.share
    return LiveState(shape=_shape(shelf), cells=cells, shares=shares)


def _shape(shelf: Shelf) -> list[object]:
    return [
        [[get.id, get.state, get.cancelled, get.code, get.next_try_at] for get in shelf.under_way],
        [get.id for get in shelf.refused],
        [
            [
                each.model.name,
                each.model.digest,
                each.state.lifecycle,
                each.state.aliases,
                [[loaded.node.id, loaded.engine.ready, loaded.engine.trouble] for loaded in each.loaded],
                [[pin.node, pin.never] for pin in each.pins],
                each.copies,
                [each.check.asked_at, each.check.ended_at] if each.check else None,
            ]
            for each in shelf.models
        ],
        [[each.alias, each.model] for each in shelf.aliases],
        sorted(shelf.elsewhere.items()),
        [[memory.node.id, memory.node.state, memory.room_bytes] for memory in shelf.memory],
    ]


def _page(status: int, *, error: str = "", wrong: str = "", typed: str = "") -> Response:
    """`wrong` says beside what the error belongs: "alias", or a model's name; `typed` stands there again."""
    shelf = read_shelf()
    return make_response(
        render_template(
            "models.html",
            shelf=shelf,
            live=_live_state(shelf),
            words=models_in_words,
            node_words=nodes_in_words,
            node_names={
                memory.node.id: gettext("This box") if memory.node.id == BOX_NODE else memory.node.name
                for memory in shelf.memory
            },
            lifecycles=LifecycleState,
            most_fits=MOST_FITS,
            offered=OFFERED_ALIASES,
            default=DEFAULT_ALIAS,
            error=error,
            wrong=wrong,
            typed=typed,
        ),
        status,
    )
