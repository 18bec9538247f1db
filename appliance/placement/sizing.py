"""What a fleet could do for so many people, and how many machines they would need.

Nothing is looked up in a table: the plan is made as for a real fleet, and a day of requests is replayed on it
through the real queue and router. The same seed gives the same day.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from appliance.accounting.usage import percentile
from appliance.placement.arrivals import HOUR, Arrival, Workload, arrivals
from appliance.placement.contract import Demand, Measured, ModelNeed, NodeFacts, Placed, Plan, Wishes
from appliance.placement.inventory import MachineKind
from appliance.placement.planning import plan
from appliance.placement.replay import Answered, Replayed, SimulatedNode, replay
from appliance.placement.speed import together_at

_REFUSED_SHARE = 0.001
_MOST_OF_A_KIND = 256
_MOST_SEARCHED = 1500
"""Requests of the busiest hour that a search replays: it replays them many times."""


@dataclass(frozen=True)
class Target:
    """What is good enough: at most so long to the first token for 95 of 100, and hardly a refusal."""

    first_token_p95_seconds: float = 5.0


@dataclass(frozen=True)
class Figures:
    """Of all answers of the day, in seconds; None when nothing was answered."""

    requests: int
    refused: int
    first_token_p50: float | None
    first_token_p95: float | None
    answer_p50: float | None
    answer_p95: float | None
    waited: int
    """Requests that had to wait for a free place."""
    wait_p95: float | None
    longest_queue: int

    def meets(self, target: Target) -> bool:
        p95 = self.first_token_p95
        few = self.refused <= self.requests * _REFUSED_SHARE
        return few and p95 is not None and p95 <= target.first_token_p95_seconds


@dataclass(frozen=True)
class NodeDay:
    """A node's day: the share of its hours that it worked, what it answered, and its energy."""

    node: str
    models: tuple[str, ...]
    answers: int
    busy_share: float
    idle_kwh: float
    answering_kwh: float
    """Beyond what it draws idle."""


@dataclass(frozen=True)
class Simulated:
    """A day on a plan."""

    workload: Workload
    plan: Plan
    figures: Figures
    nodes: tuple[NodeDay, ...]


@dataclass(frozen=True)
class Tried:
    """A model that was not taken for the fleet, and why."""

    model: str
    because: str


@dataclass(frozen=True)
class Sized:
    """The best model that meets the target, or of all the one that comes nearest; and the others."""

    simulated: Simulated | None
    meets: bool
    tried: tuple[Tried, ...]


@dataclass(frozen=True)
class Needed:
    """How many machines of one kind alone would do; None: never, and why."""

    kind: str
    count: int | None
    because: str


def simulate(
    kinds: Sequence[MachineKind],
    models: Sequence[ModelNeed],
    workload: Workload,
    *,
    wishes: Wishes = Wishes(),  # noqa: B008 frozen
    measures: Sequence[Measured] = (),
    seed: int = 0,
) -> Simulated:
    """Plans the models on the machines for the busiest hour, and replays the day."""
    nodes = [node for kind in kinds for node in kind.nodes()]
    hours = {node.id: kind.hours for kind in kinds for node in kind.nodes()}
    found = plan(nodes, models, demand=_demand(workload), wishes=wishes, measures=measures)
    return _replayed(found, hours, workload, arrivals(workload, seed), nodes)


def size(
    kinds: Sequence[MachineKind],
    models: Sequence[ModelNeed],
    workload: Workload,
    target: Target,
    *,
    wishes: Wishes = Wishes(),  # noqa: B008 frozen
    seed: int = 0,
) -> Sized:
    """Tries the models from the best on, all requests going to one, until one meets the target."""
    tried: list[Tried] = []
    nearest: Simulated | None = None
    for model in sorted(models, key=lambda each: (-each.quality, each.name)):
        asked = replace(workload, models=((model.name, 1.0),))
        day = simulate(kinds, [model], asked, wishes=wishes, seed=seed)
        if day.figures.meets(target):
            return Sized(day, True, tuple(tried))
        tried.append(Tried(model.name, _why_not(day, target)))
        if day.plan.placed and (nearest is None or _failing(day) < _failing(nearest)):
            nearest = day
    return Sized(nearest, False, tuple(tried))


def needed(
    kinds: Sequence[MachineKind],
    model: ModelNeed,
    workload: Workload,
    target: Target,
    *,
    wishes: Wishes = Wishes(),  # noqa: B008 frozen
    seed: int = 0,
) -> tuple[Needed, ...]:
    """For each kind: how many of it alone meet the target in the busiest hour of the day."""
    asked = replace(workload, models=((model.name, 1.0),))
    search = _Search(model, asked, _busiest(arrivals(asked, seed), asked), target, wishes)
    return tuple(search.of(kind) for kind in kinds)


@dataclass(frozen=True)
class _Search:
    """Doubles the machines until they are enough, then closes in on the fewest."""

    model: ModelNeed
    workload: Workload
    requests: Sequence[Arrival]
    target: Target
    wishes: Wishes

    def of(self, kind: MachineKind) -> Needed:
        one = plan(kind.nodes(1), [self.model], demand=_demand(self.workload), wishes=self.wishes)
        if not one.placed:
            return Needed(kind.name, None, one.unplaced[0].because)
        # nobody waits for another: slower than that it can't be had from machines of this kind
        alone = self._day(kind, 1, self.requests[:: max(1, len(self.requests) // 20)])
        if alone.figures.first_token_p50 is None or not self._fast_enough(alone):
            return Needed(kind.name, None, f"Each is too slow: {_why_not(alone, self.target)}")
        too_few = _at_least(one.placed[0], self.workload) - 1
        enough = too_few + 1
        while not (last := self._day(kind, enough)).figures.meets(self.target):
            if enough >= _MOST_OF_A_KIND:
                why = _why_not(last, self.target)
                return Needed(kind.name, None, f"Even {enough} are not enough: {why}")
            too_few, enough = enough, min(2 * enough, _MOST_OF_A_KIND)
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            found = self._day(kind, middle)
            if found.figures.meets(self.target):
                enough, last = middle, found
            else:
                too_few = middle
        p95 = last.figures.first_token_p95 or 0.0
        why = f"95 of 100 get their first token within {p95:.1f} s in the busiest hour."
        return Needed(kind.name, enough, why)

    def _fast_enough(self, alone: Simulated) -> bool:
        p50 = alone.figures.first_token_p50
        return p50 is not None and p50 <= self.target.first_token_p95_seconds

    def _day(self, kind: MachineKind, count: int, requests: Sequence[Arrival] | None = None) -> Simulated:
        nodes = kind.nodes(count)
        found = plan(nodes, [self.model], demand=_demand(self.workload), wishes=self.wishes)
        always = {node.id: (0.0, 24.0) for node in nodes}
        return _replayed(found, always, self.workload, self.requests if requests is None else requests, nodes)


def _demand(workload: Workload) -> list[Demand]:
    """Of the busiest hour, each model by its share."""
    total = sum(share for _, share in workload.models)
    return [
        Demand(name, requests, requests * workload.prompt_tokens, requests * workload.answer_tokens)
        for name, share in workload.models
        for requests in [workload.busiest_hour_requests * share / total]
    ]


def _busiest(requests: Sequence[Arrival], workload: Workload) -> list[Arrival]:
    """Those of the busiest hour, the first of them where they are many; of a day with hardly any, all."""
    begins = max(workload.day, key=lambda part: part[1])[0] * HOUR
    busiest = [each for each in requests if begins <= each.at < begins + HOUR]
    return (busiest or list(requests))[:_MOST_SEARCHED]


def _at_least(placed: Placed, workload: Workload) -> int:
    """Fewer would work more than all the time."""
    hour = workload.busiest_hour_requests
    reading = hour * workload.prompt_tokens / placed.speed.prompt
    answering = hour * workload.answer_tokens / together_at(placed.speed, placed.slots)
    return max(1, min(_MOST_OF_A_KIND, math.ceil((reading + answering) / HOUR)))


def _replayed(
    found: Plan,
    hours: dict[str, tuple[float, float]],
    workload: Workload,
    requests: Sequence[Arrival],
    nodes: Sequence[NodeFacts],
) -> Simulated:
    placed = [SimulatedNode.of(each, hours[each.node]) for each in found.placed]
    replayed = replay(placed, requests) if placed else _all_refused(requests)
    days = tuple(_node_days(nodes, placed, replayed))
    return Simulated(workload, found, _figures(replayed), days)


def _all_refused(requests: Sequence[Arrival]) -> Replayed:
    return Replayed([Answered(arrival, refused="model_not_found") for arrival in requests])


def _figures(replayed: Replayed) -> Figures:
    answered = [each for each in replayed.answers if not each.refused]
    firsts = [each.first_token_seconds for each in answered]
    durations = [each.duration_seconds for each in answered]
    return Figures(
        requests=len(replayed.answers),
        refused=len(replayed.answers) - len(answered),
        first_token_p50=percentile(firsts, 0.5),
        first_token_p95=percentile(firsts, 0.95),
        answer_p50=percentile(durations, 0.5),
        answer_p95=percentile(durations, 0.95),
        waited=sum(each.queue_seconds > 0 for each in answered),
        wait_p95=percentile([each.queue_seconds for each in answered], 0.95),
        longest_queue=replayed.longest_queue,
    )


def _node_days(
    nodes: Sequence[NodeFacts], placed: Sequence[SimulatedNode], replayed: Replayed
) -> Iterator[NodeDay]:
    """Of those where something is placed."""
    by_node: dict[str, list[SimulatedNode]] = {}
    for each in placed:
        by_node.setdefault(each.node, []).append(each)
    answers = Counter(each.node for each in replayed.answers)
    for node in nodes:
        if here := by_node.get(node.id):
            yield _node_day(here, replayed, answers[node.id])


def _node_day(here: Sequence[SimulatedNode], replayed: Replayed, answers: int) -> NodeDay:
    node = here[0].node
    on_seconds = (here[0].hours[1] - here[0].hours[0]) * HOUR
    busy = {each.model: replayed.busy_seconds.get((node, each.model), 0.0) for each in here}
    watts = max(each.idle_watts for each in here)
    answering = sum((each.busy_watts - each.idle_watts) * busy[each.model] for each in here)
    return NodeDay(
        node=node,
        models=tuple(each.model for each in here),
        answers=answers,
        busy_share=min(1.0, sum(busy.values()) / on_seconds),
        idle_kwh=watts * on_seconds / 3.6e6,
        answering_kwh=answering / 3.6e6,
    )


def _failing(day: Simulated) -> tuple[int, float]:
    p95 = day.figures.first_token_p95
    return day.figures.refused, p95 if p95 is not None else float("inf")


def _why_not(day: Simulated, target: Target) -> str:
    if not day.plan.placed:
        return day.plan.unplaced[0].because if day.plan.unplaced else "No node can run it."
    figures = day.figures
    if figures.refused > figures.requests * _REFUSED_SHARE:
        return (
            f"{figures.refused} of {figures.requests} requests would be refused or wait more than a minute."
        )
    return (
        f"95 of 100 would get their first token within {figures.first_token_p95:.1f} s, "
        f"and {target.first_token_p95_seconds:g} s are wanted."
    )
