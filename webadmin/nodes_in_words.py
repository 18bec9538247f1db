"""Nodes as the pages describe them: their states, engines and load in words."""

from dataclasses import dataclass

from flask_babel import gettext

from appliance.accounting import EngineOverview, NodeOverview, NodeState, node_overviews
from appliance.clock import now
from appliance.enrolment import WorkerState, list_workers
from webadmin.database import activity, cellule
from webadmin.figures import NONE_YET, percent, seconds, speed


@dataclass(frozen=True)
class Label:
    """A word with the kind of its badge: ok, warn, bad or "" (neutral)."""

    word: str
    kind: str


def fleet() -> list[NodeOverview]:
    """The box and the approved workers, as of now."""
    names = {
        worker.id: worker.name for worker in list_workers(cellule()) if worker.state is WorkerState.APPROVED
    }
    return node_overviews(activity(), names, now())


def state_label(node: NodeOverview) -> Label:
    """What the node can do now."""
    return {
        NodeState.READY: Label(gettext("Ready"), "ok"),
        NodeState.STARTING: Label(gettext("Starting"), "warn"),
        NodeState.SILENT: Label(gettext("Silent"), "bad"),
        NodeState.NEVER_SEEN: Label(gettext("Not seen yet"), ""),
    }[node.state]


def models(node: NodeOverview) -> str:
    """The names of the models that answer on this node; where none does, why, if it said so."""
    if node.state in {NodeState.SILENT, NodeState.NEVER_SEEN}:
        return NONE_YET
    ready = ", ".join(engine.model for engine in node.engines if engine.ready)
    return ready or next((engine.trouble for engine in node.engines if engine.trouble), NONE_YET)


def occupation(node: NodeOverview) -> str:
    """How many of its slots make tokens right now."""
    if node.state is not NodeState.READY:
        return NONE_YET
    busy, slots = sum(engine.busy for engine in node.engines), sum(engine.slots for engine in node.engines)
    return gettext("%(busy)s of %(slots)s", busy=busy, slots=slots)


def busy_share(node: NodeOverview) -> float:
    """0 to 1, for the bar."""
    slots = sum(engine.slots for engine in node.engines)
    return (
        sum(engine.busy for engine in node.engines) / slots
        if slots and node.state is NodeState.READY
        else 0.0
    )


def node_speed(node: NodeOverview) -> str:
    """What its engines measured themselves."""
    ready: list[EngineOverview] = [engine for engine in node.engines if engine.ready]
    return (
        speed(sum(engine.tokens_per_second for engine in ready))
        if node.state is NodeState.READY
        else NONE_YET
    )


def load(node: NodeOverview) -> str:
    """How busy the whole machine is, and whether somebody works at it."""
    if node.state is NodeState.SILENT and node.report_age_seconds is not None:
        return gettext("silent for %(time)s", time=seconds(node.report_age_seconds))
    if node.cpu_percent is None or node.state is NodeState.NEVER_SEEN:
        return NONE_YET
    share = percent(round(node.cpu_percent) / 100)
    return (
        gettext("%(share)s CPU, in use", share=share)
        if node.user_active
        else gettext("%(share)s CPU", share=share)
    )
