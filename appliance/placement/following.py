"""What the core does for placement: measures engines, makes plans, and leads the nodes to the applied one.

Without a model beside the demo no plan is made, for an empty one would unload everything.
"""

from functools import cache

from sqlite_utils import Database

from appliance.clock import now
from appliance.hardware import MachineFacts, gather, known_machines, profile_folders, profiles_in
from appliance.models.held import HeldModel, held_models
from appliance.models.states import LifecycleState, lifecycle_at
from appliance.placement.benchmarks import measure_what_is_due
from appliance.placement.current import CurrentPlan, apply_where_chosen, current_plan
from appliance.placement.fleet import fleet_nodes, heard
from appliance.placement.needs import model_needs
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity, open_cellule


def follow_benchmarks(settings: Settings) -> str:
    """Measures one engine, if one is due; what it did as a sentence."""
    profiles, _ = profiles_in(profile_folders(settings))
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        machines = {BOX_NODE: box_facts(), **known_machines(activity)}
        nodes = fleet_nodes(cellule, heard(activity, now()), profiles, machines)
        return measure_what_is_due(settings, cellule, activity, nodes, model_needs(_served(cellule)))


def follow_plan(settings: Settings) -> str:
    """Applies the plan for the fleet as it is now, where an admin chose so; what it did as a sentence."""
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        if not any(not model.ships for model in held_models(cellule)):
            return ""
        box = heard(activity, now()).get(BOX_NODE)
        if box is None or box.is_silent:
            return ""  # the box has just started: what runs is not known yet
        current = plan_of_box(settings, cellule, activity)
        if not apply_where_chosen(cellule, current):
            return ""
    return f"applied a plan of {len(current.plan.placed)} engines on {len(current.nodes)} nodes"


def plan_of_box(settings: Settings, cellule: Database, activity: Database) -> CurrentPlan:
    """The plan for the models that the box holds, on the fleet as it is now."""
    profiles, _ = profiles_in(profile_folders(settings))
    box = known_machines(activity).get(BOX_NODE) or box_facts()
    return current_plan(cellule, activity, model_needs(_served(cellule)), profiles, box)


def _served(cellule: Database) -> list[HeldModel]:
    """Without those that are retired: requests for them are refused."""
    at = now()
    return [
        model
        for model in held_models(cellule)
        if lifecycle_at(model.deprecated_at, model.retired_at, at) is not LifecycleState.RETIRED
    ]


@cache
def box_facts() -> MachineFacts:
    """Of this machine, until the record that the core keeps of it is there."""
    return gather()
