"""What each machine is: the profile that serves models on it, by which signs, why not another, its health."""

from dataclasses import dataclass

from flask import Blueprint, jsonify, render_template
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response

from appliance.accounting import NodeOverview
from appliance.hardware import (
    ChosenProfile,
    HardwareReport,
    HealthRecord,
    known_hardware,
    known_health,
    profile_folders,
)
from webadmin import figures, nodes_in_words
from webadmin.database import activity, box_settings
from webadmin.live import LiveState
from webadmin.visitor import admins_only

blueprint = Blueprint("hardware", __name__)

KINDS = {
    "npu": lazy_gettext("NPU"),
    "gpu": lazy_gettext("Graphics processor"),
    "cpu": lazy_gettext("Processor"),
}
EXERCISED = {
    "hardware": lazy_gettext("tried on such hardware"),
    "emulated": lazy_gettext("tried on something in its place"),
    "configured": lazy_gettext("written from the maker's documents, not tried yet"),
}


@dataclass(frozen=True)
class Machine:
    """One node; `report` is None until it has told what it is."""

    node: NodeOverview
    report: HardwareReport | None
    health: tuple[HealthRecord, ...]

    @property
    def chosen(self) -> ChosenProfile | None:
        return self.report.chosen if self.report else None

    @property
    def is_unwell(self) -> bool:
        return any(not record.ok for record in self.health)


@blueprint.get("/hardware")
@admins_only
def show() -> str:
    """The page."""
    machines = _machines()
    return render_template(
        "hardware.html",
        machines=machines,
        live=_live_state(machines),
        words=nodes_in_words,
        kinds=KINDS,
        exercised=EXERCISED,
        facts=facts,
    )


@blueprint.get("/hardware.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_machines()).document())


def facts(chosen: ChosenProfile) -> list[tuple[str, str]]:
    """What the profile says of serving, as pairs for the page."""
    told = [(gettext("Engine"), f"{chosen.engine} · {chosen.backend}")]
    if chosen.model_bytes is not None:
        told.append((gettext("Room for models"), figures.gigabytes(chosen.model_bytes)))
    told.append((gettext("Answers at once"), figures.count(chosen.parallel)))
    if chosen.prompt_tokens:
        limit = gettext("%(number)s tokens", number=figures.count(chosen.prompt_tokens))
        told.append((gettext("Longest prompt"), limit))
    watts = gettext(
        "%(idle)s W idle, %(busy)s W answering",
        idle=figures.count(chosen.idle_watts),
        busy=figures.count(chosen.busy_watts),
    )
    told.append((gettext("Power"), watts))
    told.append((gettext("Best files"), ", ".join(chosen.formats)))
    return told


def _machines() -> list[Machine]:
    reports, health = known_hardware(activity(), profile_folders(box_settings())), known_health(activity())
    return [
        Machine(
            node,
            reports.get(node.id),
            tuple(record for (of, _), record in sorted(health.items()) if of == node.id),
        )
        for node in nodes_in_words.fleet()
    ]


def _live_state(machines: list[Machine]) -> LiveState:
    return LiveState(
        shape=[
            [
                machine.node.id,
                machine.node.state,
                machine.report.model_dump(mode="json") if machine.report else None,
                [[record.model, record.at] for record in machine.health],
            ]
            for machine in machines
        ],
        cells={},
    )
