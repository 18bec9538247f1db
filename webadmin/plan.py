"""Which model should run on which machine, why, what would change; and the admin's wishes in that."""

from dataclasses import dataclass

from flask import Blueprint, abort, flash, jsonify, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from pydantic import ValidationError
from werkzeug.wrappers import Response

from appliance.models import list_aliases
from appliance.people import AuditEvent
from appliance.placement import (
    Action,
    Applying,
    Change,
    CurrentPlan,
    HeadState,
    NodeFacts,
    PartState,
    Pin,
    Placed,
    SeenSplits,
    SplitWish,
    Unplaced,
    apply_plan,
    choose_placement,
    plan_of_box,
    predicted_against_measured,
    remove_pin,
    seen_splits,
    set_pin,
    wish_split,
)
from webadmin import nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.live import LiveState
from webadmin.typed_numbers import typed_number
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("plan", __name__)

ACTIONS = {
    Action.LOAD: lazy_gettext("load"),
    Action.UNLOAD: lazy_gettext("unload"),
    Action.MOVE: lazy_gettext("move"),
    Action.RESTART: lazy_gettext("start anew"),
}


PARTS = {
    PartState.READY: lazy_gettext("ready"),
    PartState.STARTING: lazy_gettext("starting"),
    PartState.SILENT: lazy_gettext("silent"),
}
HEADS = {
    HeadState.WAITING: lazy_gettext("waits for its parts"),
    HeadState.RUNNING: lazy_gettext("runs"),
    HeadState.ENDED: lazy_gettext("starts again"),
}


@dataclass(frozen=True)
class Memory:
    """One memory of a node, and what the plan puts into it; `is_system`: the processor's, not a card's."""

    is_system: bool
    limit_bytes: int
    placed: tuple[Placed, ...]

    @property
    def used_bytes(self) -> int:
        return sum(each.memory_bytes for each in self.placed)

    @property
    def share(self) -> float:
        return min(1.0, self.used_bytes / self.limit_bytes) if self.limit_bytes else 0.0


@dataclass(frozen=True)
class NodePlan:
    """A node with its memories, and what an admin said of it."""

    node: NodeFacts
    memories: tuple[Memory, ...]
    pins: tuple[Pin, ...]


@dataclass(frozen=True)
class NoPlace:
    """A model that finds no place, or too few; a reason's machine is "" where it is of the one before.

    `is_unloaded`: an admin unloaded it a while ago, which keeps it off a machine for that while only.
    """

    model: str
    said: str
    reasons: tuple[tuple[str, str], ...]
    is_unloaded: bool = False


@blueprint.get("/plan")
@admins_only
def show() -> str:
    """The page."""
    current = _current()
    seen = _seen()
    return render_template(
        "plan.html",
        current=current,
        aliases=_aliases(),
        unplaced=_unplaced(current, seen),
        seen=seen,
        part_states=PARTS,
        head_states=HEADS,
        changes=_changes(current),
        nodes=_nodes(current),
        names={node.id: _name(node) for node in current.nodes},
        actions=ACTIONS,
        compared=predicted_against_measured(current.measures),
        live=_live_state(current, seen),
        has_models=any(not each.is_demo for each in current.models),
        models=sorted(each.name for each in current.models if not each.is_demo),
        left_out=_left_out(current),
    )


@blueprint.get("/plan.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_current(), _seen()).document())


@blueprint.post("/plan/apply")
@admins_only
def apply() -> Response:
    """The nodes are led to the plan as it is now."""
    current = _current()
    if apply_plan(cellule(), current.plan, chosen_by=signed_in().id):
        noted(AuditEvent.ADMIN_PLAN_APPLIED, detail=f"{len(current.plan.placed)} engines")
        flash(gettext("The plan is applied. Answers that are being given are finished first."))
    else:
        flash(gettext("The plan was applied already."))
    return _back()


@blueprint.post("/plan/choices")
@admins_only
def choose() -> Response:
    """How a new plan is applied, and how fast an answer must at least come."""
    try:
        speed = typed_number(request.form.get("speed", ""))
        choose_placement(
            cellule(),
            applying=Applying(request.form.get("applying", "")),
            least_tokens_per_second=speed,
            chosen_by=signed_in().id,
        )
    except (ValueError, ValidationError):
        flash(gettext("Give a speed between 0.1 and 1000 tokens per second. Nothing was changed."))
        return _back("wishes")
    noted(AuditEvent.ADMIN_PLAN_CHANGED, detail=f"{request.form['applying']}, {speed:g} tokens/s")
    flash(gettext("Saved."))
    return _back("wishes")


@blueprint.post("/plan/pins")
@admins_only
def pin() -> Response:
    """A model stays on a node, or never comes there, or as the plan likes again."""
    node, model, wish = (request.form.get(name, "") for name in ("node", "model", "wish"))
    current = _current()
    is_known = node in {each.id for each in current.nodes} and model in {each.name for each in current.models}
    if wish not in {"keep", "never", "free"} or (wish != "free" and not is_known):
        abort(404)
    if wish == "free":
        remove_pin(cellule(), node, model, chosen_by=signed_in().id)
    else:
        set_pin(cellule(), Pin(node=node, model=model, never=wish == "never"), chosen_by=signed_in().id)
    noted(AuditEvent.ADMIN_PLAN_CHANGED, subject=model, detail=f"{wish} on {node}")
    flash(gettext("Noted. This plan takes it into account."))
    return _back(f"plan-{node}")


@blueprint.post("/plan/splits")
@admins_only
def split() -> Response:
    """A model is split in any case, or never, or as the box finds right."""
    model, wish = request.form.get("model", ""), request.form.get("wish", "")
    choice = _current()
    if wish not in {*SplitWish, "free"} or model not in {each.name for each in choice.models}:
        abort(404)
    wish_split(cellule(), model, None if wish == "free" else SplitWish(wish), chosen_by=signed_in().id)
    noted(AuditEvent.ADMIN_PLAN_CHANGED, subject=model, detail=f"split: {wish}")
    flash(gettext("Noted. The box follows it within half a minute."))
    return _back()


def _back(anchor: str = "") -> Response:
    """To where the click was: a fleet's page is long."""
    return redirect(url_for("plan.show", _anchor=anchor or None), 303)


def _current() -> CurrentPlan:
    return plan_of_box(box_settings(), cellule(), activity())


def _aliases() -> dict[str, list[str]]:
    """By the model that they stand for."""
    found: dict[str, list[str]] = {}
    for each in list_aliases(cellule()):
        found.setdefault(each.model, []).append(each.alias)
    return found


def _seen() -> SeenSplits:
    return seen_splits(box_settings(), cellule(), activity())


def _unplaced(current: CurrentPlan, seen: SeenSplits) -> list[NoPlace]:
    """Without what runs split: that is told for itself."""
    split = {each.split.model for each in seen.splits}
    names = {node.name: _name(node) for node in current.nodes}
    lasting = {(pin.node, pin.model) for pin in current.choice.pins if pin.never}
    unloaded = {model for _, model in current.wishes.never - lasting}
    return [
        _no_place(each, names, is_unloaded=each.model in unloaded)
        for each in current.plan.unplaced
        if each.model not in split
    ]


def _no_place(unplaced: Unplaced, names: dict[str, str], *, is_unloaded: bool) -> NoPlace:
    said, _, reasons = unplaced.because.removesuffix(".").partition(": ")
    told = []
    for reason in reasons.split("; ") if reasons else ():
        machine, _, own = reason.partition(": ")
        told.append((names[machine], own) if machine in names and own else ("", reason))
    return NoPlace(unplaced.model, f"{said}.", tuple(told), is_unloaded)


def _changes(current: CurrentPlan) -> list[Change]:
    """The demo's coming and going is no news: it is what answers while nothing else does."""
    demos = {each.name for each in current.models if each.is_demo}
    return [
        each for each in current.plan.changes if each.action is not Action.KEEP and each.model not in demos
    ]


def _nodes(current: CurrentPlan) -> list[NodePlan]:
    return [
        NodePlan(
            node,
            tuple(
                Memory(
                    any(way.accelerator == "cpu" for way in node.ways if way.memory == memory),
                    max(way.memory_bytes for way in node.ways if way.memory == memory),
                    tuple(each for each in current.plan.on(node.id) if each.way.memory == memory),
                )
                for memory in sorted({way.memory for way in node.ways})
            ),
            tuple(pin for pin in current.choice.pins if pin.node == node.id),
        )
        for node in current.nodes
    ]


def _left_out(current: CurrentPlan) -> list[str]:
    """Machines that don't report, by name: nothing is planned for them."""
    planned = {node.id for node in current.nodes}
    return sorted(node.name for node in nodes_in_words.fleet() if node.id not in planned)


def _name(node: NodeFacts) -> str:
    return gettext("This box") if node.is_box else node.name


def _live_state(current: CurrentPlan, seen: SeenSplits) -> LiveState:
    return LiveState(
        shape=[
            [[each.node, each.model, each.slots, each.because] for each in current.plan.placed],
            [[each.action, each.node, each.model] for each in current.plan.changes],
            [[each.model, each.because] for each in current.plan.unplaced],
            current.choice.model_dump(mode="json"),
            len(current.measures),
            _left_out(current),
            [
                [
                    each.split.model,
                    each.head,
                    each.said,
                    [[part.part.node, part.state] for part in each.parts],
                ]
                for each in seen.splits
            ],
            [[model, each.possible is None] for model, each in sorted(seen.unsplit.items())],
        ],
        cells={},
    )
