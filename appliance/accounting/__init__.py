"""What the box did and how fast: the numbers behind the overview, and the ledger's hourly sums."""

from appliance.accounting.nodes import (
    EngineOverview,
    NodeOverview,
    NodeState,
    PoolOverview,
    node_overviews,
    pool_overview,
)
from appliance.accounting.roll_up import key_last_uses, roll_up_ledger, usage_of_days
from appliance.accounting.usage import Minute, UsageOverview, usage_overview

__all__ = [
    "EngineOverview",
    "Minute",
    "NodeOverview",
    "NodeState",
    "PoolOverview",
    "UsageOverview",
    "key_last_uses",
    "node_overviews",
    "pool_overview",
    "roll_up_ledger",
    "usage_of_days",
    "usage_overview",
]
