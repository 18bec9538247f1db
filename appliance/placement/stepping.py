"""From a plan to what a node should run just now: never through an answer that is being given. Pure.

The plan is where a node should come to. An engine that is not in it, or in it with other settings, goes on
until its last answer is given; what needs its memory waits so long. So a node is told either to keep an
engine as it runs or to have one as planned, and the steps say why.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from appliance.placement.contract import NodeFacts, Placed, Plan, Running
from appliance.placement.residency import Move, Resident, Step, Want, settle


@dataclass(frozen=True)
class NodeNow:
    """What a node should run now: `keep` as it is, `have` as planned; and each step's reason."""

    node: str
    keep: tuple[Running, ...]
    have: tuple[Placed, ...]
    steps: tuple[Step, ...]


def what_now(
    node: NodeFacts,
    plan: Plan,
    running: Sequence[Running],
    *,
    demo_models: Collection[str] = (),
    pinned: Collection[tuple[str, str]] = (),
    never: Collection[tuple[str, str]] = (),
    waiting: Mapping[str, int] = MappingProxyType({}),
    waited_seconds: Mapping[str, float] = MappingProxyType({}),
) -> NodeNow:
    """Each memory of the node is settled for itself; a model is in the one where its engine computes.

    `waiting`: how many requests wait for a model; `waited_seconds`: since when, where no node has it.
    """
    here = [each for each in running if each.node == node.id]
    planned = plan.on(node.id)
    keep: list[Running] = []
    have: list[Placed] = []
    steps: list[Step] = []
    real = [each for each in here if each.model not in demo_models and each.ready]
    for memory in sorted({way.memory for way in node.ways} | {each.way.memory for each in planned}):
        space = _Space(
            max([way.memory_bytes for way in node.ways if way.memory == memory], default=0),
            [each for each in here if _memory_of(node, each) == memory],
            [each for each in planned if each.way.memory == memory],
            {model for of, model in pinned if of == node.id},
            {model for of, model in never if of == node.id},
            set(demo_models),
            any(_memory_of(node, each) != memory for each in real),
            waiting,
            waited_seconds,
        )
        kept, had, said = space.settled()
        keep += kept
        have += had
        steps += said
    return NodeNow(node.id, tuple(keep), tuple(have), tuple(steps))


def is_as_planned(running: Running, placed: Placed) -> bool:
    """What an engine doesn't tell of context and answers at once is not held against it."""
    is_same = (running.digest, running.engine, running.device) == (
        placed.digest, placed.way.engine, placed.way.device,
    )  # fmt: skip
    return (
        is_same
        and running.slots in (0, placed.slots)
        and running.context_tokens in (0, placed.context_tokens)
    )


@dataclass(frozen=True)
class _Space:
    """One memory of a node."""

    memory_bytes: int
    running: Sequence[Running]
    planned: Sequence[Placed]
    pinned: Collection[str]
    never: Collection[str]
    demos: Collection[str]
    another_is_ready: bool
    waiting: Mapping[str, int]
    waited_seconds: Mapping[str, float]

    def settled(self) -> tuple[list[Running], list[Placed], tuple[Step, ...]]:
        by_model = {each.model: each for each in self.planned}
        changed = {
            each.model
            for each in self.running
            if each.model in by_model and not is_as_planned(each, by_model[each.model])
        }
        # an idle one with other settings is stopped and started anew, if its new room is there
        restarting = {each.model for each in self.running if each.model in changed and not each.in_flight}
        while True:
            steps = self._settle(restarting)
            waiting = {step.model for step in steps if step.move is Move.WAIT} & restarting
            if not waiting:
                break
            restarting -= waiting
        moves = {step.model: step.move for step in steps}
        keep = [
            each
            for each in self.running
            if each.model not in restarting
            and moves[each.model] in (Move.KEEP, Move.DRAIN)
            and (each.model in changed or each.model not in by_model)
        ]
        kept = {each.model for each in keep}
        have = [
            each
            for model, each in by_model.items()
            if model not in kept and moves.get(model) in (Move.LOAD, Move.KEEP, Move.DRAIN)
        ]
        return keep, have, steps

    def _settle(self, restarting: Collection[str]) -> tuple[Step, ...]:
        residents = [
            Resident(
                each.model, each.memory_bytes, each.in_flight, each.idle_seconds,
                loaded_seconds=each.loaded_seconds, ready=each.ready, is_demo=each.model in self.demos,
                must_go=each.model in self.never,
            )
            for each in self.running
            if each.model not in restarting
        ]  # fmt: skip
        wants = [
            Want(
                each.model, each.memory_bytes, pinned=each.model in self.pinned, planned=True,
                waiting=self.waiting.get(each.model, 0),
                waited_seconds=self.waited_seconds.get(each.model, 0.0), is_demo=each.model in self.demos,
            )
            for each in self.planned
        ]  # fmt: skip
        return settle(self.memory_bytes, residents, wants, another_is_ready=self.another_is_ready)


def _memory_of(node: NodeFacts, running: Running) -> str:
    """The memory in which it computes; the first one where its way is not known any more."""
    names = [way.memory for way in node.ways if (way.engine, way.device) == (running.engine, running.device)]
    return names[0] if names else min((way.memory for way in node.ways), default="")
