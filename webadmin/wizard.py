"""What an admin sets up after the claim, one step a page, in any order, now or another day.

A page shows its step's facts; its form either does the step, or says what is wrong and keeps what was typed.
"Later" leaves a step open. Nothing waits for the wizard: chat, keys and workers work without it.
"""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.claim import SetupChoice, following, open_steps
from appliance.errors import Refusal
from appliance.storage import read_choice, write_choice
from webadmin.database import box_settings, cellule
from webadmin.refusals import explain
from webadmin.visitor import admins_only, signed_in
from webadmin.wizard_steps import STEPS, Step

blueprint = Blueprint("wizard", __name__)


@dataclass(frozen=True)
class Hint:
    """For the overview, while steps are open and nobody said that it is enough."""

    done: int
    all: int


def offered_steps() -> tuple[Step, ...]:
    """Those that make sense here: without a machine of its own there is no disk key and no network to set."""
    settings = box_settings()
    has_machine = settings.appliance or settings.host_simulated
    return tuple(step for step in STEPS if has_machine or not step.needs_machine)


def hint() -> Hint | None:
    """What the overview says about the setup."""
    choice, ids = read_choice(cellule(), SetupChoice), _ids()
    left = open_steps(choice, ids)
    if choice.finished or not left or not box_settings().appliance:
        return None
    return Hint(len(ids) - len(left), len(ids))


@blueprint.get("/setup")
@blueprint.get("/setup/<step_id>")
@admins_only
def show(step_id: str | None = None) -> Response:
    """One step; without one, where it was left off."""
    if step_id is not None:
        return _page(_find(step_id), 200, {})
    left = open_steps(read_choice(cellule(), SetupChoice), _ids())
    return redirect(url_for("wizard.show", step_id=left[0]) if left else url_for("wizard.end"), 303)


@blueprint.post("/setup/<step_id>")
@admins_only
def take(step_id: str) -> Response:
    """Does what the step's form asks."""
    step = _find(step_id)
    try:
        stay = step.take()
    except Refusal as error:
        return _page(step, error.http_status, {"error": explain(error)})
    if isinstance(stay, Response):
        return stay
    if stay is not None:
        return _page(step, 200, stay)
    choice = read_choice(cellule(), SetupChoice).with_done(step_id)
    write_choice(cellule(), choice, chosen_by=signed_in().id)
    return redirect(_after(step_id), 303)


@blueprint.get("/setup/end")
@admins_only
def end() -> str:
    """What to do next, and what was left open."""
    left = open_steps(read_choice(cellule(), SetupChoice), _ids())
    return render_template(
        "wizard_end.html", steps=_progress("end"), left=[step for step in offered_steps() if step.id in left]
    )


@blueprint.post("/setup/end")
@admins_only
def finish() -> Response:
    """The overview says nothing about the setup from now on."""
    choice = read_choice(cellule(), SetupChoice).model_copy(update={"finished": True})
    write_choice(cellule(), choice, chosen_by=signed_in().id)
    return redirect(url_for("overview.show"), 303)


def _ids() -> tuple[str, ...]:
    return tuple(step.id for step in offered_steps())


def _find(step_id: str) -> Step:
    found = next((step for step in offered_steps() if step.id == step_id), None)
    return found or abort(404)


def _after(step_id: str) -> str:
    after = following(step_id, _ids())
    return url_for("wizard.show", step_id=after) if after else url_for("wizard.end")


def _page(step: Step, status: int, more: dict[str, Any]) -> Response:
    ids = _ids()
    at = ids.index(step.id)
    try:
        facts = step.facts()
    except Refusal as error:
        # the broker may be away for a moment: the step says so and can be taken up later
        facts, status, more = {}, error.http_status, {"unavailable": explain(error)}
    page = render_template(
        f"wizard_{step.id.replace('-', '_')}.html",
        step=step,
        steps=_progress(step.id),
        number=at + 1,
        back=url_for("wizard.show", step_id=ids[at - 1]) if at else None,
        later=_after(step.id),
        is_done=step.id in read_choice(cellule(), SetupChoice).done,
        form=request.form,
        **(facts | more),
    )
    return make_response(page, status)


def _progress(current: str) -> list[dict[str, Any]]:
    done = read_choice(cellule(), SetupChoice).done
    return [
        {"id": step.id, "title": step.title, "done": step.id in done, "current": step.id == current}
        for step in offered_steps()
    ]
