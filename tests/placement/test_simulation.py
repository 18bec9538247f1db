"""The simulated day: the real router in simulated time, held against queueing theory."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean

import pytest

from appliance.placement.arrivals import OFFICE_DAY, Arrival, Workload, arrivals
from appliance.placement.contract import Speed, SpeedSource
from appliance.placement.replay import SimulatedNode, replay
from appliance.placement.simulated_nodes import SimulatedNodes
from appliance.placement.simulated_time import NothingLeftToWaitFor, run_in_simulated_time
from appliance.pool.limits import Limits
from appliance.pool.nodes import NodeEngine, Nodes

PATIENT = Limits(queue_wait_seconds=1e6)


def engine(
    node: str = "n", *, slots: int = 1, alone: float = 10.0, together: float | None = None, **more: object
) -> SimulatedNode:
    speed = Speed(1e6, alone, together or alone, slots, SpeedSource.MEASURED, "in a test")
    return SimulatedNode(node, "m", slots, speed, **more)  # type: ignore[arg-type]


def poisson(rate: float, seconds: float, answer: int | None = None, seed: int = 1) -> list[Arrival]:
    draw = random.Random(seed)
    at, found = 0.0, []
    while (at := at + draw.expovariate(rate)) < seconds:
        tokens = answer or max(1, round(draw.expovariate(1 / 50)))
        found.append(Arrival(at, f"c{draw.randrange(50)}", "m", 1, tokens))
    return found


def test_waiting_takes_no_time_and_timeouts_still_come_in_order() -> None:
    async def main() -> list[str]:
        said: list[str] = []

        async def speak(after: float, word: str) -> None:
            await asyncio.sleep(after)
            said.append(f"{word} at {asyncio.get_running_loop().time():g}")

        await asyncio.gather(speak(3600, "second"), speak(60, "first"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 86400)
        return [*said, f"{asyncio.get_running_loop().time():g}"]

    assert run_in_simulated_time(main()) == ["first at 60", "second at 3600", "90000"]


def test_what_waits_for_ever_is_told_at_once() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeftToWaitFor):
        run_in_simulated_time(main())


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_for_one_place_is_what_pollaczek_and_khinchine_say(load: float) -> None:
    """M/D/1: mean wait = load x service / (2 (1 - load)); fair turns change who waits, not how long."""
    service = 10.0
    requests = poisson(load / service, 150_000, answer=100)
    found = replay([engine()], requests, queue_limit=100_000, limits=PATIENT)
    expected = load * service / (2 * (1 - load))
    assert mean(each.queue_seconds for each in found.answers) == pytest.approx(expected, rel=0.1)
    assert found.busy_seconds["n", "m"] == pytest.approx(len(requests) * service, rel=0.02)


def test_waiting_for_several_nodes_is_what_erlang_says() -> None:
    """M/M/3: the mean wait by Erlang's C formula; the router sends each request to a free node."""
    nodes, service, rate = 3, 5.0, 0.45
    offered = rate * service
    weights = [1.0]
    for count in range(1, nodes):
        weights.append(weights[-1] * offered / count)
    last = weights[-1] * offered / nodes * nodes / (nodes - offered)
    wait = last / (sum(weights) + last) * service / (nodes - offered)
    found = replay(
        [engine(f"n{number}") for number in range(nodes)],
        poisson(rate, 60_000),
        queue_limit=100_000,
        limits=PATIENT,
    )
    assert mean(each.queue_seconds for each in found.answers) == pytest.approx(wait, rel=0.15)


def test_answers_together_come_at_the_speed_they_were_measured_to_have_together() -> None:
    both = [Arrival(0.0, f"c{number}", "m", 1, 101) for number in range(4)]
    found = replay([engine(slots=4, alone=10, together=20)], both)
    assert [each.duration_seconds for each in found.answers] == pytest.approx([20.0] * 4, rel=0.01)


def test_a_long_prompt_delays_the_first_token_and_the_answers_beside_it() -> None:
    slow = Speed(100.0, 10.0, 20.0, 2, SpeedSource.MEASURED, "")
    short = Arrival(0.0, "a", "m", 1, 51)
    alone = replay([SimulatedNode("n", "m", 2, slow)], [short]).answers[0].duration_seconds
    found = replay([SimulatedNode("n", "m", 2, slow)], [short, Arrival(1.0, "b", "m", 1000, 2)])
    by_caller = {each.arrival.caller_id: each for each in found.answers}
    assert by_caller["b"].first_token_seconds > 10
    assert by_caller["a"].duration_seconds > alone + 2


def test_the_real_limits_hold_a_full_queue_and_a_long_wait_are_refused() -> None:
    crowd = [Arrival(0.0, f"c{number}", "m", 1, 10_000) for number in range(10)]
    found = replay([engine()], crowd, queue_limit=5)
    refusals = sorted(each.refused for each in found.answers)
    assert refusals == [""] + ["no_node_available"] * 5 + ["queue_full"] * 4
    assert found.longest_queue == 5


def test_the_router_prefers_the_faster_node_and_leaves_out_what_is_switched_off() -> None:
    fast, slow = engine("fast", alone=100), engine("slow", alone=5)
    one_by_one = [Arrival(100.0 * number, "c", "m", 1, 50) for number in range(20)]
    assert {each.node for each in replay([slow, fast], one_by_one).answers} == {"fast"}
    off = engine("fast", alone=100, hours=(1.0, 24.0))
    assert {each.node for each in replay([slow, off], one_by_one).answers} == {"slow"}


def test_a_prompt_goes_to_nodes_that_take_one_so_long() -> None:
    npu, pc = engine("npu", alone=100, prompt_tokens=512), engine("pc", alone=5)
    asked = [Arrival(100.0 * number, "c", "m", (64, 2000)[number % 2], 50) for number in range(6)]
    found = replay([npu, pc], asked)
    nodes = {(each.arrival.prompt_tokens, each.node) for each in found.answers}
    assert nodes == {(64, "npu"), (2000, "pc")}
    (refused,) = {each.refused for each in replay([npu], asked[1:2]).answers}
    assert refused == "context_length_exceeded"


@pytest.mark.parametrize("seed", range(12))
def test_the_router_chooses_the_same_as_among_all_engines(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    fleet = [
        engine(
            f"n{number}",
            slots=draw.choice([1, 2, 4]),
            alone=draw.choice([5.0, 10.0, 20.0]),
            together=draw.choice([20.0, 30.0]),
            prompt_tokens=draw.choice([0, 0, 512]),
            hours=draw.choice([(0.0, 24.0), (0.2, 0.6), (0.0, 0.4)]),
        )
        for number in range(12)
    ]
    requests = [
        replace(each, prompt_tokens=draw.choice([64, 2000])) for each in poisson(1.5, 3600, seed=seed)
    ]
    shown = replay(fleet, requests)
    monkeypatch.setattr(SimulatedNodes, "__iter__", Nodes.__iter__)
    assert replay(fleet, requests) == shown


def test_of_a_large_idle_fleet_the_router_is_shown_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, look = list[int](), SimulatedNodes.__iter__

    def counted(nodes: SimulatedNodes) -> Iterator[NodeEngine]:
        shown = list(look(nodes))
        looked_at.append(len(shown))
        return iter(shown)

    monkeypatch.setattr(SimulatedNodes, "__iter__", counted)
    requests = poisson(0.5, 3600)
    found = replay([engine(f"n{number}") for number in range(500)], requests)
    assert not any(each.queue_seconds for each in found.answers)
    assert mean(looked_at) < 20


def test_a_day_of_requests_follows_the_office_and_is_the_same_for_a_seed() -> None:
    workload = Workload(300, 20, (("m", 1.0),))
    day = arrivals(workload, seed=3)
    assert day == arrivals(workload, seed=3) != arrivals(workload, seed=4)
    assert len(day) == pytest.approx(6000, rel=0.05)
    hours = [int(each.at // 3600) for each in day]
    assert set(hours) == {hour for hour, _ in OFFICE_DAY}
    assert hours.count(12) < 0.6 * hours.count(10), "lunch"
    assert hours.count(10) == pytest.approx(workload.busiest_hour_requests, rel=0.12)
    assert mean(each.prompt_tokens for each in day) == pytest.approx(600, rel=0.05)
    assert len({each.caller_id for each in day}) == 300
