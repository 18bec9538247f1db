"""Which model runs on which node, why, and what a fleet of machines could do.

Order: facts and measures (`fleet`, `store`) → `current_plan` (pure rules in `planning`) → an admin's word or
the box's own → `apply_plan` → `applied_engines` for a node's desired state, `what_now` so that no answer is
broken off. What no node can hold is split over several (`splitting`). `simulate`, `size` and `needed` do the
same for machines that are only on a list. Names are loaded when they are first asked for (PEP 562), for the
simulation brings the pool along.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.placement.arrivals import Workload
    from appliance.placement.benchmarks import measure_what_is_due
    from appliance.placement.contract import (
        Action,
        Change,
        Demand,
        Measured,
        ModelFiles,
        ModelNeed,
        NodeFacts,
        Placed,
        Plan,
        Running,
        Unplaced,
        Way,
        Wishes,
    )
    from appliance.placement.current import (
        CurrentPlan,
        SpeedCompared,
        apply_where_chosen,
        current_plan,
        predicted_against_measured,
    )
    from appliance.placement.following import box_facts, follow_benchmarks, follow_plan, plan_of_box
    from appliance.placement.inventory import (
        InventoryUnusable,
        MachineKind,
        inventory_text,
        read_inventory,
        unknown_cards,
    )
    from appliance.placement.leading import lead
    from appliance.placement.models_for_sizing import sizing_models
    from appliance.placement.needs import model_needs
    from appliance.placement.planning import plan
    from appliance.placement.report import as_json, told
    from appliance.placement.sizing import Needed, Simulated, Sized, Target, needed, simulate, size
    from appliance.placement.split_report import HeadState, PartState, SeenSplit, SeenSplits, seen_splits
    from appliance.placement.splits import read_splits
    from appliance.placement.stepping import NodeNow, what_now
    from appliance.placement.store import (
        AppliedEngine,
        Applying,
        CopiesRefused,
        Pin,
        PinRefused,
        PlacementChoice,
        SplitWish,
        applied_engines,
        apply_plan,
        choose_placement,
        read_measures,
        read_placement,
        remove_pin,
        set_pin,
        unload_model,
        wish_copies,
        wish_split,
    )

_NAMES = {
    "arrivals": ("Workload",),
    "benchmarks": ("measure_what_is_due",),
    "following": ("box_facts", "follow_benchmarks", "follow_plan", "plan_of_box"),
    "leading": ("lead",),
    "needs": ("model_needs",),
    "contract": (
        "Action", "Change", "Demand", "Measured", "ModelFiles", "ModelNeed", "NodeFacts", "Placed", "Plan",
        "Running", "Unplaced", "Way", "Wishes",
    ),
    "current": (
        "CurrentPlan", "SpeedCompared", "apply_where_chosen", "current_plan", "predicted_against_measured",
    ),
    "inventory": ("InventoryUnusable", "MachineKind", "inventory_text", "read_inventory", "unknown_cards"),
    "models_for_sizing": ("sizing_models",),
    "planning": ("plan",),
    "report": ("as_json", "told"),
    "sizing": ("Needed", "Simulated", "Sized", "Target", "needed", "simulate", "size"),
    "split_report": ("HeadState", "PartState", "SeenSplit", "SeenSplits", "seen_splits"),
    "splits": ("read_splits",),
    "stepping": ("NodeNow", "what_now"),
    "store": (
        "AppliedEngine", "Applying", "CopiesRefused", "Pin", "PinRefused", "PlacementChoice", "SplitWish",
        "applied_engines", "apply_plan", "choose_placement", "read_measures", "read_placement", "remove_pin",
        "set_pin", "unload_model", "wish_copies", "wish_split",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Action",
    "AppliedEngine",
    "Applying",
    "Change",
    "CopiesRefused",
    "CurrentPlan",
    "Demand",
    "HeadState",
    "InventoryUnusable",
    "MachineKind",
    "Measured",
    "ModelFiles",
    "ModelNeed",
    "Needed",
    "NodeFacts",
    "NodeNow",
    "PartState",
    "Pin",
    "PinRefused",
    "Placed",
    "PlacementChoice",
    "Plan",
    "Running",
    "SeenSplit",
    "SeenSplits",
    "Simulated",
    "Sized",
    "SpeedCompared",
    "SplitWish",
    "Target",
    "Unplaced",
    "Way",
    "Wishes",
    "Workload",
    "applied_engines",
    "apply_plan",
    "apply_where_chosen",
    "as_json",
    "box_facts",
    "choose_placement",
    "current_plan",
    "follow_benchmarks",
    "follow_plan",
    "inventory_text",
    "lead",
    "measure_what_is_due",
    "model_needs",
    "needed",
    "plan",
    "plan_of_box",
    "predicted_against_measured",
    "read_inventory",
    "read_measures",
    "read_placement",
    "read_splits",
    "remove_pin",
    "seen_splits",
    "set_pin",
    "simulate",
    "size",
    "sizing_models",
    "told",
    "unknown_cards",
    "unload_model",
    "what_now",
    "wish_copies",
    "wish_split",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
