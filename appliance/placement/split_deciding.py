"""Whether a model that finds no node is split, stays split, or is split no more: a pure rule.

A settled split stays as long as its parts are there, even where another would be a little faster: moving a
layer means filling a part anew, and nobody gets an answer meanwhile. A lost part means another plan without
its node, or the reason why there is none. Nothing is split against an admin's word.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from appliance.engines.sharding.sizes import part_bytes
from appliance.placement.sharding import (
    Alternative,
    NoSplit,
    SplitPlan,
    head_ruled_out,
    plan_after_loss,
    plan_split,
)
from appliance.placement.split_cost import SplitModel, SplitNode
from appliance.placement.splits import Split, Unsplit
from appliance.placement.store import SplitWish


@dataclass(frozen=True)
class Asked:
    """A model and the nodes, each with the memory that nothing else takes."""

    model: SplitModel
    digest: str
    head: SplitNode
    others: tuple[SplitNode, ...]
    addresses: Mapping[str, str]
    """Of the others, in the tunnel."""
    alternative: Alternative | None
    least_tokens_per_second: float
    wish: SplitWish | None = None
    by_itself: bool = True
    """An admin lets the box apply plans."""
    fits_one_node: bool = False
    """A plan places it whole."""
    ruled_out: frozenset[str] = frozenset()
    """Nodes where an admin never wants it, neither as a part nor as the head."""

    def is_against(self, settled: Split) -> bool:
        """Whether the admin's word rules out a node of a split that is there."""
        return bool(self.ruled_out & {self.head.id, *settled.addresses})


def decide(asked: Asked, settled: Split | None, lost: Collection[str], at: float) -> Split | Unsplit | None:
    """What holds for the model from now on; None where there is nothing to say, for it runs whole.

    `lost` are the nodes of the settled split whose part is gone.
    """
    if asked.fits_one_node:
        return None
    if settled and _stays(asked, settled) and not lost:
        return settled
    answer = _answer(asked, settled, lost)
    if isinstance(answer, NoSplit):
        return Unsplit(model=asked.model.name, refused=answer, at=at)
    goes_on = settled is not None and _is_wished_as_it_was(asked, settled)
    if asked.wish is not SplitWish.NEVER and (asked.by_itself or asked.wish or goes_on):
        return _split(asked, answer)
    return Unsplit(model=asked.model.name, possible=answer, at=at)


def _stays(asked: Asked, settled: Split) -> bool:
    return (
        settled.digest == asked.digest
        and not asked.is_against(settled)
        and asked.wish is not SplitWish.NEVER
        and _is_wished_as_it_was(asked, settled)
    )


def _is_wished_as_it_was(asked: Asked, settled: Split) -> bool:
    """A split that only an admin's word holds up ends with it."""
    return not settled.is_insisted_on or asked.wish is SplitWish.ANYWAY


def _answer(asked: Asked, settled: Split | None, lost: Collection[str]) -> SplitPlan | NoSplit:
    if asked.head.id in asked.ruled_out:
        return head_ruled_out(asked.model.name, asked.head, asked.alternative)
    if settled is None or not lost:
        return plan_split(
            asked.model,
            asked.head,
            asked.others,
            alternative=asked.alternative,
            least_tokens_per_second=asked.least_tokens_per_second,
            is_insisted_on=asked.wish is SplitWish.ANYWAY,
        )
    there = {node.id for node in asked.others}
    gone = [SplitNode(part.node, part.name, 0, 0.0) for part in settled.plan.parts if part.node not in there]
    return plan_after_loss(
        asked.model,
        asked.head,
        [*asked.others, *gone],
        lost,
        alternative=asked.alternative,
        least_tokens_per_second=asked.least_tokens_per_second,
        is_insisted_on=asked.wish is SplitWish.ANYWAY,
    )


def _split(asked: Asked, plan: SplitPlan) -> Split:
    model = asked.model
    return Split(
        plan=plan,
        digest=asked.digest,
        addresses={part.node: asked.addresses[part.node] for part in plan.parts},
        kv_tokens=model.kv_tokens,
        head_bytes=model.weights.other_bytes
        + part_bytes(model.weights, 0, plan.head_layers, model.kv_tokens),
        is_insisted_on=_needs_a_word(asked, plan),
    )


def _needs_a_word(asked: Asked, plan: SplitPlan) -> bool:
    other = asked.alternative
    return not asked.by_itself or (other is not None and plan.tokens_per_second < other.tokens_per_second)
