"""Which models are split, and which are not and why: what the core decided, kept in cellule.db.

A split takes memory of the box and of the nodes that lend it, so placement sees these nodes without that
memory, and never takes the head of a split for an engine of its own. Writes only what changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from appliance.clock import age_seconds
from appliance.hardware.profile import EngineName
from appliance.hardware.profile import Kind as Accelerator
from appliance.placement.contract import NodeFacts, Running, Way
from appliance.placement.sharding import NoSplit, SplitPlan
from appliance.settings import BOX_NODE
from appliance.storage import Choice, read_choice, write_choice

FRESH_SECONDS = 60.0
"""A refusal whose figures alone differ is written down anew this seldom."""


class Split(BaseModel):
    """A model that is split: the plan, and what the head needs to know beside it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    plan: SplitPlan
    digest: str
    addresses: dict[str, str]
    """Of the parts' nodes, in the tunnel."""
    kv_tokens: int
    head_bytes: int
    is_insisted_on: bool = False
    """An admin's word holds it up: by itself the box would not split it."""

    @property
    def model(self) -> str:
        return self.plan.model

    def bytes_on(self, node: str) -> int:
        """What it takes of a node's memory."""
        if node == BOX_NODE:
            return self.head_bytes
        return sum(part.memory_bytes for part in self.plan.parts if part.node == node)


class Unsplit(BaseModel):
    """A model that runs nowhere: how it could be split, if an admin says so, or why it can't."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    model: str
    possible: SplitPlan | None = None
    refused: NoSplit | None = None
    at: float = 0.0

    def says_the_same(self, other: "Unsplit") -> bool:
        """Whether the two differ in nothing but their figures."""
        return self._verdict() == other._verdict()

    def _verdict(self) -> tuple[object, ...]:
        parts = [(part.node, part.layers) for part in self.possible.parts] if self.possible else []
        refused = self.refused
        instead = (refused.instead.model, refused.instead.node) if refused and refused.instead else None
        return self.model, parts, refused.why if refused else None, instead


class SplitModels(Choice):
    """All that was decided."""

    splits: tuple[Split, ...] = ()
    unsplit: tuple[Unsplit, ...] = Field(default=())


def read_splits(db: Database) -> SplitModels:
    return read_choice(db, SplitModels)


def keep_splits(db: Database, decided: SplitModels) -> bool:
    """Whether another thing was decided than before, beyond the figures of a refusal."""
    before = read_splits(db)
    known = {each.model: each for each in before.unsplit}
    settled = SplitModels(
        splits=decided.splits,
        unsplit=tuple(_as_known(each, known.get(each.model)) for each in decided.unsplit),
    )
    if settled == before:
        return False
    write_choice(db, settled, chosen_by=None)
    same = len(settled.unsplit) == len(known) and all(
        each.model in known and each.says_the_same(known[each.model]) for each in settled.unsplit
    )
    return settled.splits != before.splits or not same


def _as_known(new: Unsplit, known: Unsplit | None) -> Unsplit:
    if known and new.says_the_same(known) and age_seconds(known.at, new.at) < FRESH_SECONDS:
        return known
    return new


def lending_way(node: NodeFacts) -> Way | None:
    """How head and parts compute: llama.cpp on the processor."""
    return next(
        (
            way
            for way in node.ways
            if way.engine is EngineName.LLAMA_CPP and way.accelerator is Accelerator.CPU
        ),
        None,
    )


def beside_splits(nodes: Iterable[NodeFacts], splits: Sequence[Split]) -> tuple[NodeFacts, ...]:
    """The nodes without the memory that splits take there."""
    return tuple(without_memory(node, sum(split.bytes_on(node.id) for split in splits)) for node in nodes)


def without_memory(node: NodeFacts, taken_bytes: int) -> NodeFacts:
    """The node without so much of the memory that its processor computes in."""
    way = lending_way(node)
    if way is None or not taken_bytes:
        return node
    ways = (
        replace(each, memory_bytes=max(0, each.memory_bytes - taken_bytes))
        if each.memory == way.memory
        else each
        for each in node.ways
    )
    return replace(node, ways=tuple(ways))


def without_heads(running: Iterable[Running], splits: Iterable[Split]) -> tuple[Running, ...]:
    """What runs and is placement's to keep or end."""
    heads = {split.model for split in splits}
    return tuple(each for each in running if not (each.node == BOX_NODE and each.model in heads))
