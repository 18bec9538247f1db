"""Models that no node could run, and why: so that requests for them are refused at once, not after minutes.

A model counts as one only after a while without a place: after a start the workers report one by one, and
what fits no single node may be split over several.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlite_utils import Database

from appliance.clock import age_seconds
from appliance.models.unloadable import keep_unloadable, read_unloadable
from appliance.placement.contract import GivenUp, Measured, ModelNeed, NodeFacts, Wishes
from appliance.placement.planning import plan
from appliance.placement.splits import SplitModels

TOLD_AFTER_SECONDS = 20.0

_NOWHERE_SINCE: dict[str, float] = {}
"""By model, epoch seconds; what a core before this one told needs no time to be believed."""


def tell_nowhere(
    cellule: Database,
    homeless: Iterable[ModelNeed],
    nodes: Sequence[NodeFacts],
    *,
    measures: Sequence[Measured],
    wishes: Wishes,
    given_up: Sequence[GivenUp],
    splits: SplitModels,
    at: float,
) -> None:
    """Keeps for the pool which of the `homeless` find no place among `nodes`, however long one waits.

    `wishes` are those that last: what an admin unloaded comes back for who asks.
    """
    told = read_unloadable(cellule)
    reasons = {
        need.name: why for need in homeless if (why := why_nowhere(need, nodes, measures, wishes, given_up))
    }
    for model in _NOWHERE_SINCE.keys() - reasons.keys():
        del _NOWHERE_SINCE[model]
    sure = {
        model: _with_split(model, why, splits)
        for model, why in reasons.items()
        if age_seconds(_NOWHERE_SINCE.setdefault(model, at), at) >= TOLD_AFTER_SECONDS or model in told
    }
    keep_unloadable(cellule, sure)


def why_nowhere(
    need: ModelNeed,
    nodes: Sequence[NodeFacts],
    measures: Sequence[Measured],
    wishes: Wishes,
    given_up: Sequence[GivenUp] = (),
) -> str:
    """Why no node could run the model even if nothing else were there; "" where one could. Pure."""
    own = replace(wishes, copies=(), pinned=frozenset(pin for pin in wishes.pinned if pin[1] == need.name))
    alone = plan(nodes, [need], measures=measures, wishes=own, given_up=given_up)
    if any(each.model == need.name for each in alone.placed):
        return ""
    return " ".join(each.because for each in alone.unplaced if each.model == need.name)


def _with_split(model: str, why: str, splits: SplitModels) -> str:
    if any(each.model == model and each.possible for each in splits.unsplit):
        return f"{why} Several could run it together, if an administrator says so."
    return why
