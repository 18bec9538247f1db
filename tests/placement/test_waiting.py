"""A model that requests wait for is placed beside what stands on a node, and no node is overfilled for it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.models.unloadable import read_unloadable
from appliance.placement import nowhere
from appliance.placement.contract import ModelNeed, NodeFacts, Placed, Plan, Running, Wishes
from appliance.placement.nowhere import tell_nowhere
from appliance.placement.planning import plan
from appliance.placement.residency import Move
from appliance.placement.sharding import SplitPlan
from appliance.placement.splits import SplitModels, Unsplit
from appliance.placement.stepping import NodeNow, what_now
from appliance.placement.waiting import Fleet, Taken, place_waiting
from appliance.settings import Settings
from appliance.storage import open_cellule
from tests.placement.fleets import GIB, as_running, cpu, gpu, model, node

SMALL, OTHER, WANTED = model("small", 1), model("other", 1), model("wanted", 2)


def placed_alone(where: NodeFacts, what: ModelNeed) -> Placed:
    return plan([where], [what]).placed[0]


def fleet(
    nodes: Sequence[NodeFacts],
    running: Sequence[Running],
    planned: Sequence[Placed] = (),
    *,
    waiting: str = "wanted",
    waited_seconds: float = 0.0,
    wishes: Wishes = Wishes(),  # noqa: B008 frozen
) -> Fleet:
    def settle(where: NodeFacts, wanted: Sequence[Placed]) -> NodeNow:
        return what_now(
            where, Plan(tuple(wanted), (), ()), running,
            pinned=wishes.pinned, never=wishes.never, waiting={waiting: 1},
            waited_seconds={waiting: waited_seconds},
        )  # fmt: skip

    return Fleet(
        nodes=nodes,
        needs={each.name: each for each in (SMALL, OTHER, WANTED)},
        planned={each.id: [one for one in planned if one.node == each.id] for each in nodes},
        running=running,
        measures=(),
        wishes=wishes,
        settle=settle,
    )


def moves(there: Fleet, taken: Taken | None) -> dict[str, Move]:
    assert taken
    where = next(each for each in there.nodes if each.id == taken.node)
    return {step.model: step.move for step in there.settle(where, taken.placed).steps}


def of_wanted(taken: Taken | None) -> Placed:
    assert taken
    return next(each for each in taken.placed if each.model == "wanted")


def test_it_takes_the_room_that_is_free_and_nothing_has_to_go() -> None:
    box = node("box", cpu(3, parallel=8), is_box=True)
    small = placed_alone(node("box", cpu(3, parallel=2)), SMALL)
    empty = of_wanted(place_waiting(WANTED, fleet([box], [])))
    beside = fleet([box], [as_running(small, idle_seconds=5000)], [small])
    taken = place_waiting(WANTED, beside)
    assert moves(beside, taken) == {"small": Move.KEEP, "wanted": Move.LOAD}
    assert of_wanted(taken).slots < empty.slots, "not as if the node were empty"
    assert small.memory_bytes + of_wanted(taken).memory_bytes <= 3 * GIB


def test_what_is_there_has_fewer_answers_at_once_before_it_has_to_go() -> None:
    box = node("box", cpu(2.6, parallel=8), is_box=True)
    full = placed_alone(box, SMALL)
    there = fleet([box], [as_running(full, idle_seconds=5000)], [full])
    taken = place_waiting(WANTED, there)
    assert moves(there, taken) == {"small": Move.LOAD, "wanted": Move.LOAD}
    assert taken and {each.model: each.slots for each in taken.placed}["small"] < full.slots
    assert sum(each.memory_bytes for each in taken.placed) <= box.ways[0].memory_bytes


def test_no_more_makes_way_than_must() -> None:
    box = node("box", cpu(2.7, parallel=1), is_box=True)
    small, other = placed_alone(box, SMALL), placed_alone(box, OTHER)
    running = [as_running(small, idle_seconds=9000), as_running(other, idle_seconds=50)]
    there = fleet([box], running, [other])
    assert moves(there, place_waiting(WANTED, there)) == {
        "small": Move.UNLOAD,
        "other": Move.KEEP,
        "wanted": Move.LOAD,
    }


def test_another_node_with_room_is_better_than_unloading_on_the_box() -> None:
    box, pc = node("box", cpu(1.8, parallel=1), is_box=True), node("pc", gpu(8))
    small = placed_alone(box, SMALL)
    there = fleet([box, pc], [as_running(small, idle_seconds=9000)], [small])
    taken = place_waiting(WANTED, there)
    assert taken and taken.node == "pc"


def test_while_it_is_being_loaded_it_stays_where_it_comes_to() -> None:
    box, pc = node("box", cpu(4), is_box=True), node("pc", gpu(8))
    coming = as_running(placed_alone(pc, WANTED), ready=False, loaded_seconds=0)
    taken = place_waiting(WANTED, fleet([box, pc], [coming]))
    assert taken and taken.node == "pc"


def test_what_made_way_takes_no_room_from_it_while_it_is_loaded() -> None:
    """Else it would be started anew at the next look, with one answer at once."""
    box = node("box", cpu(1.8, parallel=8), is_box=True)
    small = placed_alone(box, SMALL)
    before = fleet([box], [as_running(small, idle_seconds=5000)], [small])
    first = place_waiting(WANTED, before)
    assert moves(before, first) == {"small": Move.UNLOAD, "wanted": Move.LOAD}
    assert of_wanted(first).slots > 1
    coming = as_running(of_wanted(first), ready=False, loaded_seconds=0)
    meanwhile = fleet([box], [coming], [small])
    second = place_waiting(WANTED, meanwhile)
    assert moves(meanwhile, second) == {"small": Move.WAIT, "wanted": Move.KEEP}
    assert of_wanted(second).slots == of_wanted(first).slots


def test_an_answer_is_waited_for_and_an_admins_word_holds() -> None:
    box = node("box", cpu(1.8, parallel=1), is_box=True)
    small = placed_alone(box, SMALL)
    busy = fleet([box], [as_running(small, in_flight=1)], [small])
    assert moves(busy, place_waiting(WANTED, busy))["wanted"] is Move.WAIT
    never = fleet([box], [], wishes=Wishes(never=frozenset({("box", "wanted")})))
    assert place_waiting(WANTED, never) is None


def test_who_waits_for_long_waits_for_the_node_that_makes_way() -> None:
    box, pc = node("box", cpu(1.8, parallel=1), is_box=True), node("pc", cpu(1.8, parallel=1))
    running = [as_running(placed_alone(each, SMALL), in_flight=1) for each in (box, pc)]
    pinned = Wishes(pinned=frozenset({("box", "small")}))
    planned = [placed_alone(box, SMALL)]
    there = fleet([box, pc], running, planned, wishes=pinned, waited_seconds=60)
    taken = place_waiting(WANTED, there)
    assert taken and taken.node == "pc"
    assert moves(there, taken) == {"small": Move.DRAIN, "wanted": Move.WAIT}
    assert there.settle(pc, taken.placed).keep == (running[1],), "until its answer is given"


@given(st.floats(1.2, 8), st.integers(1, 8), st.floats(0, 2000), st.integers(0, 1), st.booleans())
def test_what_stands_and_what_comes_never_exceed_the_memory(
    gib: float, parallel: int, idle: float, busy: int, is_planned: bool
) -> None:
    box = node("box", cpu(gib, parallel=parallel), is_box=True)
    small = placed_alone(box, SMALL)
    running = [as_running(small, idle_seconds=idle, in_flight=busy)]
    there = fleet([box], running, [small] if is_planned else [])
    taken = place_waiting(WANTED, there)
    if taken is None:
        return
    now = there.settle(box, taken.placed)
    kept = sum(each.memory_bytes for each in now.keep)
    had = sum(each.memory_bytes for each in now.have)
    assert kept + had <= box.ways[0].memory_bytes
    assert not busy or small.model in {step.model for step in now.steps if step.move is not Move.UNLOAD}


HUGE = model("huge", 60)


def told(settings: Settings, nodes: Sequence[NodeFacts], at: float, **more: object) -> dict[str, str]:
    given = {"measures": (), "wishes": Wishes(), "given_up": (), "splits": SplitModels()} | more
    with open_cellule(settings.state_dir) as db:
        tell_nowhere(db, [WANTED, HUGE], nodes, at=at, **given)  # type: ignore[arg-type]
        return dict(read_unloadable(db))


def test_what_no_node_can_hold_is_told_with_the_reason_until_one_comes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nowhere, "_NOWHERE_SINCE", {})
    box, station = node("box", cpu(4), is_box=True), node("station", gpu(80, 3000))
    assert told(settings, [box], 100) == {}, "the workers may not have reported yet"
    found = told(settings, [box], 130)
    assert set(found) == {"huge"} and "No node can run it: box: llama.cpp on CPU would" in found["huge"]
    possible = Unsplit(model="huge", possible=SplitPlan("huge", 1, (), 9.0, ()))
    asked = told(settings, [box], 131, splits=SplitModels(unsplit=(possible,)))
    assert "if an administrator says so" in asked["huge"]
    assert told(settings, [box], 132, wishes=Wishes(never=frozenset({("box", "wanted")}))).keys() == {"huge"}
    assert told(settings, [box, station], 140) == {}


def test_a_pin_is_no_reason_and_never_is_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nowhere, "TOLD_AFTER_SECONDS", 0.0)
    slow = node("slow", cpu(80, 20), is_box=True)
    assert set(told(settings, [slow], 100)) == {"huge"}, "too slow for a reader"
    assert told(settings, [slow], 101, wishes=Wishes(pinned=frozenset({("slow", "huge")}))) == {}
    found = told(settings, [slow], 102, wishes=Wishes(never=frozenset({("slow", "wanted")})))
    assert found["wanted"] == "No node can run it: an admin keeps it off slow."
