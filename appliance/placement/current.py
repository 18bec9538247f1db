"""The plan for the fleet as it is now, what an admin sees of it, and what becomes of it.

`current_plan` reads and decides; `apply_plan` (store) records it. Where the admin chose so, the core applies
a new plan by itself; else it waits for his word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from appliance.clock import age_seconds, now
from appliance.hardware import MachineFacts, Profile, known_machines
from appliance.hardware.profile import EngineName
from appliance.placement.contract import Measured, ModelNeed, NodeFacts, Plan, Running, Trial, Wishes
from appliance.placement.demo_room import beside_demo, without_own_demo
from appliance.placement.failed_ways import machines_as_of, ways_given_up
from appliance.placement.fleet import (
    ABSENT_AFTER_SECONDS,
    demand_of_hours,
    fleet_nodes,
    heard,
    placeable,
    running_engines,
)
from appliance.placement.giving_up import without_given_up
from appliance.placement.history import History
from appliance.placement.options import Known
from appliance.placement.planning import plan
from appliance.placement.speed import predict
from appliance.placement.splits import beside_splits, read_splits, without_heads
from appliance.placement.store import (
    Applying,
    PlacementChoice,
    apply_plan,
    last_failures,
    read_measures,
    read_placement,
)
from appliance.placement.trials import ANOTHER_NIGHT_SECONDS, MOST_FAILURES, trials_of_night
from appliance.settings import BOX_NODE


@dataclass(frozen=True)
class CurrentPlan:
    """The plan with what it was made of."""

    plan: Plan
    nodes: tuple[NodeFacts, ...]
    running: tuple[Running, ...]
    measures: History
    choice: PlacementChoice
    wishes: Wishes
    """What the choice meant when the plan was made."""
    models: tuple[ModelNeed, ...]


@dataclass(frozen=True)
class SpeedCompared:
    """A line of the table "predicted against measured", in tokens a second for one answer alone."""

    node: str
    model: str
    engine: str
    device: str
    predicted: float
    """From published figures; 0 where nothing is published."""
    measured: float
    together: float
    at_once: int
    at: float
    ratio: float | None
    """Measured by predicted: what corrects the other predictions."""


def current_plan(
    cellule: Database,
    activity: Database,
    models: Sequence[ModelNeed],
    profiles: Mapping[str, Profile],
    box_facts: MachineFacts,
    *,
    at: float | None = None,
) -> CurrentPlan:
    """The plan for what the databases say at `at` (epoch seconds)."""
    at = now() if at is None else at
    reports = heard(activity, at, ABSENT_AFTER_SECONDS)
    machines = {**known_machines(activity), BOX_NODE: box_facts}
    splits = read_splits(cellule).splits
    running = placeable(running_engines(activity, reports, models, at), models)
    there = beside_demo(fleet_nodes(cellule, reports, profiles, machines), models, running)
    nodes, running = beside_splits(there, splits), without_heads(running, splits)
    given_up = ways_given_up(activity, machines_as_of(machines, reports), at)
    running = without_given_up(running, given_up)
    measures, choice = read_measures(activity), read_placement(cellule)
    wishes = choice.wishes(at)
    known = Known(measures, wishes, running, given_up)
    trials = () if choice.applying is Applying.ASK else _trials(activity, nodes, models, known, at)
    found = plan(
        nodes, models, measures=measures, demand=demand_of_hours(activity, at), wishes=wishes,
        running=without_own_demo(running), given_up=given_up, trials=trials,
    )  # fmt: skip
    return CurrentPlan(found, nodes, running, measures, choice, wishes, tuple(models))


def _trials(
    activity: Database, nodes: Sequence[NodeFacts], models: Sequence[ModelNeed], known: Known, at: float
) -> tuple[Trial, ...]:
    failed = {
        Trial(node, digest, EngineName(engine), device)
        for (node, digest, engine, device), (failed_at, number) in last_failures(activity).items()
        if number >= MOST_FAILURES or age_seconds(failed_at, at) < ANOTHER_NIGHT_SECONDS
    }
    hour = datetime.fromtimestamp(at).astimezone().hour
    return trials_of_night(nodes, models, known, local_hour=hour, failed=failed)


def apply_where_chosen(cellule: Database, current: CurrentPlan) -> bool:
    """Applies the plan if an admin let the box do so by itself; whether anything was recorded."""
    if current.choice.applying is not Applying.AUTOMATICALLY:
        return False
    return apply_plan(cellule, current.plan, chosen_by=None)


def predicted_against_measured(measures: Sequence[Measured]) -> tuple[SpeedCompared, ...]:
    """The last benchmark of each engine, by node and model."""
    last = {(each.node, each.model, each.engine, each.device): each for each in measures}
    return tuple(
        SpeedCompared(
            each.node, each.model, each.engine.value, each.device, each.predicted_alone, each.alone,
            each.together, each.at_once, each.at,
            each.alone / each.predicted_alone if each.predicted_alone else None,
        )
        for _, each in sorted(last.items(), key=lambda item: (item[0][0], item[0][1], item[0][2].value))
    )  # fmt: skip


def predicted_alone(node: NodeFacts, model: ModelNeed, digest: str, engine: str, device: str) -> float:
    """What the published figures say of an engine, uncorrected; 0 where nothing is published."""
    ways = [way for way in node.ways if (way.engine.value, way.device) == (engine, device)]
    files = [each for each in model.files if each.digest == digest]
    if not ways or not files or ways[0].figures is None:
        return 0.0
    return predict(ways[0].figures, ways[0], model, files[0]).alone
