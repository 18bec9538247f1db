"""How a model that fits no single node is split, and whether that is worth it: a pure rule that says why.

The head is the box: it reaches every worker through its tunnel, and workers reach nobody but the box. It
keeps embeddings and output, and the first layers as far as that is faster. A split is refused, with its
arithmetic, when the model fits one node, when a reader would have to wait for it, and when a smaller model on
one node alone is faster.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from itertools import combinations

from appliance.engines.sharding.parts import PartAddress, PartUse, write_parts
from appliance.engines.sharding.sizes import passing_bytes
from appliance.placement.split_cost import (
    Share,
    SplitModel,
    SplitNode,
    room,
    seconds_per_layer,
    share_bytes,
    split_seconds,
    told_gb,
    told_share,
    told_sum,
    whole_bytes,
)
from appliance.settings import WORKER_PART_PORT

_MOST_CONSIDERED = 8
"""Nodes that may become parts; more would make 2**n splits to look at, and slower ones."""


@dataclass(frozen=True)
class Alternative:
    """The best smaller model that one node alone can run."""

    model: str
    node: str
    tokens_per_second: float


@dataclass(frozen=True)
class PlannedPart:
    """What a node lends, and for how many layers."""

    node: str
    name: str
    layers: int
    memory_bytes: int


@dataclass(frozen=True)
class SplitPlan:
    """The parts in the order of their layers; `reasons` hold the arithmetic."""

    model: str
    head_layers: int
    parts: tuple[PlannedPart, ...]
    tokens_per_second: float
    reasons: tuple[str, ...]

    def setting(self, addresses: Mapping[str, IPv4Address]) -> str:
        """The setting "parts" of the head's engine; `addresses` are the nodes' in the tunnel."""
        return write_parts(
            tuple(
                PartUse(PartAddress(addresses[part.node], WORKER_PART_PORT), part.layers)
                for part in self.parts
            )
        )


class WhyNot(StrEnum):
    """Why a model is not split."""

    FITS_ONE_NODE = "fits_one_node"
    TOO_LARGE = "too_large"
    TOO_SLOW_TO_READ = "too_slow_to_read"
    SLOWER_THAN_SMALLER = "slower_than_smaller"
    HEAD_RULED_OUT = "head_ruled_out"


@dataclass(frozen=True)
class NoSplit:
    """`instead` is what should run in its place, where there is something."""

    why: WhyNot
    reasons: tuple[str, ...]
    instead: Alternative | None = None


def plan_split(
    model: SplitModel,
    head: SplitNode,
    others: Sequence[SplitNode],
    *,
    alternative: Alternative | None,
    least_tokens_per_second: float,
    is_insisted_on: bool = False,
) -> SplitPlan | NoSplit:
    """The fastest split over `head` and some of `others`, or why there is none that is worth it.

    `is_insisted_on`: an admin wants the model although a smaller one on one node is faster.
    """
    if whole := _fits_whole(model, (head, *others)):
        return whole
    splits = list(_splits(model, head, others))
    if not splits:
        return _too_large(model, head, others, alternative)
    best = min(splits, key=lambda shares: (split_seconds(model, shares), len(shares)))
    speed = 1 / split_seconds(model, best)
    reasons = (*(told_share(model, share) for share in best), told_sum(model, best))
    if speed < least_tokens_per_second:
        verdict = f"That is below the {least_tokens_per_second:.1f} tokens/s that a reader needs."
        return NoSplit(WhyNot.TOO_SLOW_TO_READ, (*reasons, verdict), alternative)
    if alternative and speed < alternative.tokens_per_second:
        other = f"{alternative.tokens_per_second:.1f} tokens/s"
        verdict = f"{alternative.model} on {alternative.node} alone makes {other}"
        if not is_insisted_on:
            return NoSplit(
                WhyNot.SLOWER_THAN_SMALLER, (*reasons, f"{verdict}, which is faster."), alternative
            )
        reasons = (*reasons, f"{verdict}, but an admin wants {model.name} all the same.")
    return SplitPlan(
        model=model.name,
        head_layers=next((share.layers for share in best if share.is_head), 0),
        parts=tuple(
            PlannedPart(share.node.id, share.node.name, share.layers, share_bytes(model, share))
            for share in best
            if not share.is_head
        ),
        tokens_per_second=speed,
        reasons=reasons,
    )


def plan_after_loss(
    model: SplitModel,
    head: SplitNode,
    others: Sequence[SplitNode],
    lost: Collection[str],
    *,
    alternative: Alternative | None,
    least_tokens_per_second: float,
    is_insisted_on: bool = False,
) -> SplitPlan | NoSplit:
    """The same question without the nodes whose part was lost: another split, or what to run instead."""
    left = [node for node in others if node.id not in lost]
    names = ", ".join(node.name for node in others if node.id in lost)
    answer = plan_split(
        model,
        head,
        left,
        alternative=alternative,
        least_tokens_per_second=least_tokens_per_second,
        is_insisted_on=is_insisted_on,
    )
    reasons = (f"The part on {names} is lost." if names else "No part is lost.", *answer.reasons)
    if isinstance(answer, SplitPlan):
        return SplitPlan(answer.model, answer.head_layers, answer.parts, answer.tokens_per_second, reasons)
    return NoSplit(answer.why, reasons, answer.instead)


def head_ruled_out(model: str, head: SplitNode, alternative: Alternative | None) -> NoSplit:
    """Where an admin never wants the model on the only node that could be the head."""
    reason = f"An admin keeps {model} off {head.name}, where every split begins."
    return NoSplit(WhyNot.HEAD_RULED_OUT, (reason,), alternative)


def _fits_whole(model: SplitModel, nodes: Sequence[SplitNode]) -> NoSplit | None:
    needed = whole_bytes(model)
    fitting = [node for node in nodes if node.memory_bytes >= needed]
    if not fitting:
        return None
    fastest = max(fitting, key=lambda node: node.bytes_per_second)
    reason = (
        f"{model.name} needs {told_gb(needed)} and fits on {fastest.name} alone, which has "
        f"{told_gb(fastest.memory_bytes)}: split it could only be slower."
    )
    return NoSplit(WhyNot.FITS_ONE_NODE, (reason,))


def _too_large(
    model: SplitModel, head: SplitNode, others: Sequence[SplitNode], alternative: Alternative | None
) -> NoSplit:
    lent = ", ".join(f"{node.name} {told_gb(node.memory_bytes)}" for node in (head, *others))
    passing = told_gb(passing_bytes(model.weights, model.kv_tokens))
    reason = (
        f"{model.name} needs {told_gb(whole_bytes(model))}, and each further node {passing} more; "
        f"there is: {lent}."
    )
    return NoSplit(WhyNot.TOO_LARGE, (reason,), alternative)


def _splits(model: SplitModel, head: SplitNode, others: Sequence[SplitNode]) -> Iterator[tuple[Share, ...]]:
    """For every choice of parts the fastest way to share the layers among them: each node is filled in the
    order of its speed, which is best because a layer's cost on a node does not depend on the others.
    """
    able = [node for node in others if node.is_usable and room(model, node, is_head=False) >= 1]
    able.sort(key=lambda node: seconds_per_layer(model, node))
    for count in range(1, len(able[:_MOST_CONSIDERED]) + 1):
        for chosen in combinations(able[:_MOST_CONSIDERED], count):
            if shares := _share_out(model, head, chosen):
                yield shares


def _share_out(model: SplitModel, head: SplitNode, chosen: Sequence[SplitNode]) -> tuple[Share, ...] | None:
    """None where the layers don't fit, or a chosen part would stay empty: a smaller choice covers that."""
    nodes = [head, *chosen]
    rooms = [room(model, node, is_head=node is head) for node in nodes]
    if rooms[0] < 0:
        return None
    layers = [0] * len(nodes)
    left = model.weights.layers
    for number in sorted(range(len(nodes)), key=lambda each: seconds_per_layer(model, nodes[each])):
        layers[number] = min(rooms[number], left)
        left -= layers[number]
    if left or 0 in layers[1:]:
        return None
    first = 0
    shares = []
    for number, node in enumerate(nodes):
        shares.append(Share(node, first, layers[number], is_head=number == 0))
        first += layers[number]
    return tuple(shares)
