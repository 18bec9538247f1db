"""What each machine is: the profile that serves models on it, by which signs, why not another, its health.

A server that a PC's owner runs already is adopted here, and released again.
"""

import re
from dataclasses import dataclass

from flask import Blueprint, abort, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response

from appliance.accounting import NodeOverview
from appliance.engines import EngineState, read_engine_states
from appliance.enrolment import DesiredEngine, adopt_server, adopted_engines, found_servers, release_server
from appliance.errors import Refusal
from appliance.hardware import (
    ChosenProfile,
    HardwareReport,
    HealthRecord,
    known_hardware,
    known_health,
    profile_folders,
)
from appliance.people import AuditEvent
from appliance.settings import BOX_NODE
from webadmin import figures, nodes_in_words
from webadmin.audit_noting import noted
from webadmin.database import activity, box_settings, cellule
from webadmin.live import LiveState
from webadmin.refusals import explain
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
class Offer:
    """A model of a found server, not adopted yet; `model` is "" where only a key would tell its models."""

    server: str
    port: int
    model: str
    context_tokens: int
    needs_key: bool


@dataclass(frozen=True)
class Machine:
    """One node; `report` is None until it has told what it is."""

    node: NodeOverview
    report: HardwareReport | None
    health: tuple[HealthRecord, ...]
    offers: tuple["Offer", ...] = ()
    adopted: tuple[DesiredEngine, ...] = ()
    ended: tuple[EngineState, ...] = ()
    """Engines that ended by themselves and are started again."""

    @property
    def chosen(self) -> ChosenProfile | None:
        return self.report.chosen if self.report else None

    @property
    def is_unwell(self) -> bool:
        return any(not record.ok for record in self.health)


@blueprint.get("/hardware")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.post("/hardware/<worker_id>/adopt")
@admins_only
def adopt(worker_id: str) -> Response:
    """From now on the server's model answers under the given name."""
    form = request.form
    name = form.get("name", "").strip()
    port = form.get("port", "")
    try:
        adopt_server(
            cellule(),
            activity(),
            worker_id,
            port=int(port) if port.isascii() and port.isdigit() else 0,
            model=form.get("model", ""),
            name=name,
            key_file=form.get("key_file", "").strip(),
        )
    except Refusal as error:
        return _page(error.http_status, error=explain(error), asked_of=worker_id)
    noted(AuditEvent.ADMIN_SERVER_ADOPTED, subject=name, detail=f"{worker_id}: port {port}")
    flash(gettext("%(name)s is adopted. It answers once it has proven what it is.", name=name))
    return redirect(url_for("hardware.show"), 303)


@blueprint.post("/hardware/<worker_id>/release")
@admins_only
def release(worker_id: str) -> Response:
    """The box no longer asks that server, which runs on."""
    name = request.form.get("name", "")
    if name not in {engine.model for engine in adopted_engines(cellule(), worker_id)}:
        abort(404)
    release_server(cellule(), worker_id, name)
    noted(AuditEvent.ADMIN_SERVER_RELEASED, subject=name, detail=worker_id)
    flash(gettext("%(name)s is released. The server itself runs on.", name=name))
    return redirect(url_for("hardware.show"), 303)


def _page(status: int, *, error: str = "", asked_of: str = "") -> Response:
    """`asked_of`: the node whose server could not be adopted; the form shows what was typed again."""
    machines = _machines()
    refused = next(
        (offer for each in machines if each.node.id == asked_of for offer in each.offers if _is_sent(offer)),
        None,
    )
    page = render_template(
        "hardware.html",
        machines=machines,
        live=_live_state(machines),
        words=nodes_in_words,
        kinds=KINDS,
        exercised=EXERCISED,
        facts=facts,
        trouble_of=trouble_of,
        suggested_name=suggested_name,
        error=error,
        asked_of=asked_of,
        refused=refused,
        sent=request.form,
    )
    return make_response(page, status)


def _is_sent(offer: Offer) -> bool:
    return request.form.get("port") == str(offer.port) and offer.model in ("", request.form.get("model"))


@blueprint.get("/hardware.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_machines()).document())


def facts(chosen: ChosenProfile) -> list[tuple[str, str]]:
    """What the profile says of serving, as pairs for the page."""
    engine = gettext("a server of its owner") if chosen.engine == "adopted" else chosen.engine.value
    told = [(gettext("Engine"), f"{engine} · {chosen.backend}")]
    if chosen.model_bytes is not None:
        room = figures.size(chosen.model_bytes)
        told.append((gettext("Room for models"), f"{chosen.count} × {room}" if chosen.count > 1 else room))
    told.append((gettext("Answers at once"), figures.count(chosen.parallel)))
    if chosen.prompt_tokens:
        limit = gettext("%(number)s tokens", number=figures.count(chosen.prompt_tokens))
        told.append((gettext("Longest prompt"), limit))
    watts = gettext(
        "%(idle)s W idle, %(busy)s W answering",
        idle=figures.count(chosen.idle_watts),
        busy=figures.count(chosen.busy_watts),
    )
    told.append((gettext("Power"), watts.replace(" W", "\N{NO-BREAK SPACE}W")))
    told.append((gettext("Best files"), ", ".join(chosen.formats)))
    return told


def trouble_of(machine: Machine, engine: DesiredEngine) -> str:
    """Why an adopted server does not answer now; "" when it does or has not been heard of yet."""
    told = (one.trouble for one in machine.node.engines if one.model == engine.model)
    return next(told, "")


def suggested_name(offer: Offer) -> str:
    """A name for the API, from the server's own of the model: "Qwen/Qwen3-8B" is qwen3-8b."""
    plain = offer.model.rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:64]


def _machines() -> list[Machine]:
    reports, health = known_hardware(activity(), profile_folders(box_settings())), known_health(activity())
    return [
        Machine(
            node,
            reports.get(node.id),
            tuple(record for (of, _), record in sorted(health.items()) if of == node.id),
            *_servers(node.id),
            _ended_on_box() if node.id == BOX_NODE else _ended_on(node),
        )
        for node in nodes_in_words.fleet()
    ]


def _ended_on(worker: NodeOverview) -> tuple[EngineState, ...]:
    return tuple(
        EngineState(
            name=engine.model,
            is_running=engine.ended.is_running,
            since=engine.ended.at,
            restarts=engine.ended.restarts,
            said=engine.ended.said,
        )
        for engine in worker.engines
        if engine.ended
    )


def _ended_on_box() -> tuple[EngineState, ...]:
    states = read_engine_states(box_settings()).engines
    return tuple(state for state in states if state.said and (state.restarts or not state.is_running))


def _servers(node: str) -> tuple[tuple[Offer, ...], tuple[DesiredEngine, ...]]:
    """What could be adopted on a machine, and what is."""
    adopted = adopted_engines(cellule(), node)
    taken = {(engine.settings.get("url"), engine.settings.get("model")) for engine in adopted}
    offers = [
        Offer(server.kind.value, server.port, model, context_tokens, server.needs_key)
        for server in found_servers(activity(), node)
        for model, context_tokens in (
            [(one.id, one.context_tokens) for one in server.models if not one.is_embedding]
            or ([("", 0)] if server.needs_key else [])
        )
        if (f"http://127.0.0.1:{server.port}", model) not in taken
    ]
    return tuple(offers), adopted


def _live_state(machines: list[Machine]) -> LiveState:
    return LiveState(
        shape=[
            [
                machine.node.id,
                machine.node.state,
                machine.report.model_dump(mode="json") if machine.report else None,
                [[record.model, record.at] for record in machine.health],
                [[offer.port, offer.model] for offer in machine.offers],
                [[engine.model, trouble_of(machine, engine)] for engine in machine.adopted],
                [[state.name, state.restarts, state.is_running, state.said] for state in machine.ended],
            ]
            for machine in machines
        ],
        cells={},
    )
