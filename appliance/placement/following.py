"""What the core does for placement: measures engines, and applies a new plan where an admin let it.

`models` are those that the box holds: without any no plan is made, for an empty one would unload everything.
"""

from collections.abc import Sequence
from functools import cache

from appliance.clock import now
from appliance.hardware import MachineFacts, gather, profile_folders, read_profiles
from appliance.placement.benchmarks import measure_what_is_due
from appliance.placement.contract import ModelNeed
from appliance.placement.current import apply_where_chosen, current_plan
from appliance.placement.fleet import fleet_nodes, heard
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule


def follow_benchmarks(settings: Settings, models: Sequence[ModelNeed] = ()) -> str:
    """Measures one engine, if one is due; what it did as a sentence."""
    profiles, _ = read_profiles(profile_folders(settings))
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        nodes = fleet_nodes(cellule, heard(activity, now()), profiles, box_facts())
        return measure_what_is_due(settings, cellule, activity, nodes, models)


def follow_plan(settings: Settings, models: Sequence[ModelNeed]) -> str:
    """Applies the plan for the fleet as it is now, where an admin chose so; what it did as a sentence."""
    if not models:
        return ""
    profiles, _ = read_profiles(profile_folders(settings))
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        current = current_plan(cellule, activity, models, profiles, box_facts())
        if not apply_where_chosen(cellule, current):
            return ""
    return f"applied a plan of {len(current.plan.placed)} engines on {len(current.nodes)} nodes"


@cache
def box_facts() -> MachineFacts:
    """Of this machine; its parts don't change while a process runs."""
    return gather()
