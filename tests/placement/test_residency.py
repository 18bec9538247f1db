"""Loading and unloading on one node: nobody's answer is broken off, and no two models fight for memory."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.placement.contract import Placed, Plan, Wishes
from appliance.placement.fleet import waited_seconds
from appliance.placement.planning import plan
from appliance.placement.residency import IDLE_SECONDS, Move, Resident, Want, settle
from appliance.placement.stepping import what_now
from tests.placement.fleets import DEMO, GIB, as_running, carried_out, cpu, demand, model, node

names = st.sampled_from(["a", "b", "c", "d", "demo"])
sizes = st.integers(1, 8).map(lambda gib: gib * GIB)


@st.composite
def situations(draw: st.DrawFn) -> tuple[int, list[Resident], list[Want]]:
    residents = [
        Resident(
            name, draw(sizes), draw(st.integers(0, 2)), draw(st.floats(0, 5000)), draw(st.floats(0, 5000)),
            ready=draw(st.booleans()), is_demo=name == "demo",
        )
        for name in sorted(draw(st.sets(names)))
    ]  # fmt: skip
    wants = [
        Want(
            name, draw(sizes), pinned=draw(st.booleans()), planned=draw(st.booleans()),
            waiting=draw(st.integers(0, 5)), waited_seconds=draw(st.floats(0, 180)), is_demo=name == "demo",
        )
        for name in sorted(draw(st.sets(names)))
    ]  # fmt: skip
    return sum(each.memory_bytes for each in residents) + draw(sizes), residents, wants


@settings(max_examples=300, deadline=None)
@given(situations())
def test_what_must_always_hold(situation: tuple[int, list[Resident], list[Want]]) -> None:
    memory, residents, wants = situation
    steps = settle(memory, residents, wants)
    there = {each.model: each for each in residents}
    wanted = {each.model: each for each in wants}
    moves = {step.model: step.move for step in steps}
    assert len(moves) == len(steps), "a model has one step"
    assert set(moves) <= set(there) | set(wanted) and set(moves) >= set(there)
    unloaded = {name for name, move in moves.items() if move is Move.UNLOAD}
    assert not [name for name in unloaded if there[name].in_flight], "an answer is never broken off"
    assert not [name for name in unloaded if name in wanted and wanted[name].pinned]
    # memory holds after each single step, in the order given
    taken = sum(each.memory_bytes for each in residents)
    for step in steps:
        if step.move is Move.UNLOAD:
            taken -= there[step.model].memory_bytes
        elif step.move is Move.LOAD:
            taken += wanted[step.model].memory_bytes
        assert taken <= memory
    real = {name for name in wanted if name not in there and name != "demo"}
    assert real <= {name for name, move in moves.items() if move in (Move.LOAD, Move.WAIT)}


def moves(memory_gib: float, residents: list[Resident], wants: list[Want]) -> dict[str, str]:
    return {step.model: step.move.value for step in settle(int(memory_gib * GIB), residents, wants)}


def test_what_was_idle_longest_makes_way_and_only_as_much_as_is_needed() -> None:
    there = [
        Resident("old", 4 * GIB, idle_seconds=500),
        Resident("older", 2 * GIB, idle_seconds=800),
        Resident("young", 4 * GIB, idle_seconds=10),
    ]
    assert moves(10, there, [Want("new", 2 * GIB, waiting=1)]) == {
        "old": "keep",
        "older": "unload",
        "young": "keep",
        "new": "load",
    }
    assert moves(10, there, [Want("new", 4 * GIB, waiting=1)])["older"] == "keep", "old alone is enough"


def test_for_a_plan_nothing_makes_way_that_was_used_lately_nor_what_was_just_loaded() -> None:
    want, there = Want("planned", 8 * GIB, planned=True), Resident("talking", 8 * GIB, idle_seconds=20)
    assert moves(10, [there], [want]) == {"talking": "keep", "planned": "wait"}
    assert moves(10, [replace(there, idle_seconds=1000)], [want])["planned"] == "load"
    waited_for = replace(want, waiting=2)
    assert moves(10, [replace(there, loaded_seconds=5)], [waited_for])["talking"] == "keep"
    assert moves(10, [there], [waited_for])["planned"] == "load"


def test_a_used_model_makes_what_is_wanted_wait_and_the_reason_has_the_figures() -> None:
    steps = settle(8 * GIB, [Resident("used", 6 * GIB, in_flight=3)], [Want("new", 4 * GIB, planned=True)])
    waiting = next(step for step in steps if step.move is Move.WAIT)
    assert waiting.because == "It needs 4.0 GiB of 8.0, 2.0 are free, and used gives 3 answers."


def test_nothing_is_unloaded_that_would_not_be_enough() -> None:
    there = [Resident("used", 6 * GIB, in_flight=1), Resident("idle", 2 * GIB, idle_seconds=600)]
    assert moves(8, there, [Want("new", 4 * GIB, planned=True)]) == {
        "used": "keep",
        "idle": "keep",
        "new": "wait",
    }


def test_two_wanted_models_do_not_push_each_other_out_in_turn() -> None:
    there = [Resident("first", 6 * GIB, idle_seconds=30, loaded_seconds=30)]
    wants = [Want("first", 6 * GIB, planned=True), Want("second", 6 * GIB, waiting=1)]
    assert moves(8, there, wants)["second"] == "wait"
    there = [Resident("first", 6 * GIB, idle_seconds=300, loaded_seconds=300)]
    assert moves(8, there, wants) == {"first": "unload", "second": "load"}
    # and back only when somebody waits for it
    now = [Resident("second", 6 * GIB, idle_seconds=300, loaded_seconds=300)]
    wants = [Want("first", 6 * GIB, planned=True), Want("second", 6 * GIB, planned=True)]
    assert moves(8, now, wants)["second"] == "unload", "of equal claims the name decides, once"


def test_models_that_are_waited_for_take_turns_and_the_one_that_few_ask_for_has_one() -> None:
    """Three models, room for one, somebody waiting for each at all times."""
    turns, waiting = [], {"a": 5, "b": 5, "c": 1}
    there: list[Resident] = []
    for turn in range(6):
        at = turn * 130.0
        ready = [as_running(placed_small(each.model)) for each in there]
        waited = waited_seconds(waiting.keys() - {each.model for each in there}, ready, at)
        wants = [
            Want(name, 6 * GIB, waiting=waiting[name], waited_seconds=waited[name]) for name in sorted(waited)
        ]
        (loaded,) = [step.model for step in settle(8 * GIB, there, wants) if step.move is Move.LOAD]
        waited_seconds(waiting.keys() - {each.model for each in there}, ready, at + 125)
        turns.append(loaded)
        there = [Resident(loaded, 6 * GIB, idle_seconds=2, loaded_seconds=125)]
    assert turns == ["a", "b", "c", "a", "b", "c"]


def test_what_is_used_without_a_pause_drains_after_its_turn_for_what_is_overdue() -> None:
    used = Resident("used", 6 * GIB, in_flight=4, idle_seconds=0, loaded_seconds=60)
    overdue = Want("new", 6 * GIB, waiting=1, waited_seconds=45)
    assert moves(8, [used], [overdue]) == {"used": "drain", "new": "wait"}
    assert moves(8, [replace(used, in_flight=0)], [overdue]) == {"used": "unload", "new": "load"}
    assert moves(8, [used], [replace(overdue, waited_seconds=44)])["used"] == "keep"
    assert moves(8, [replace(used, loaded_seconds=59)], [overdue])["used"] == "keep", "its turn"
    assert moves(8, [replace(used, is_demo=True)], [overdue])["used"] == "keep", "the last resort"
    pinned = Want("used", 6 * GIB, pinned=True)
    assert moves(8, [used], [overdue, pinned])["used"] == "keep"
    also = Want("also", 6 * GIB, waiting=9, waited_seconds=44)
    assert moves(8, [used], [overdue, also]) == {"used": "drain", "new": "wait", "also": "wait"}


def test_what_drains_and_what_is_free_beside_it_is_taken_by_no_other() -> None:
    there = [Resident("used", 4 * GIB, in_flight=1), Resident("idle", 2 * GIB, idle_seconds=5)]
    wants = [
        Want("large", 8 * GIB, waiting=1, waited_seconds=90),
        Want("small", 2 * GIB, waiting=1, waited_seconds=50),
    ]
    assert moves(8, there, wants) == {"used": "drain", "idle": "drain", "large": "wait", "small": "wait"}
    enough = [Resident("used", 4 * GIB, in_flight=1), Resident("idle", 6 * GIB, idle_seconds=5)]
    assert moves(10, enough, wants[1:]) == {"used": "keep", "idle": "unload", "small": "load"}


def placed_small(name: str) -> Placed:
    return plan([node("box", cpu())], [model(name, 4)]).placed[0]


def test_who_comes_back_soon_has_waited_all_the_while_and_who_was_served_begins_anew() -> None:
    assert waited_seconds({"late"}, [], 1000.0) == {"late": 0.0}
    assert waited_seconds({}, [], 1010.0) == {}
    assert waited_seconds({"late"}, [], 1020.0) == {"late": 20.0}
    assert waited_seconds({"late"}, [], 1051.0) == {"late": 0.0}, "somebody else, much later"
    assert waited_seconds({"late"}, [as_running(placed_small("late"))], 1060.0) == {}
    assert waited_seconds({"late"}, [], 1061.0) == {"late": 0.0}


def test_what_a_node_does_follows_how_long_was_waited() -> None:
    box = node("box", cpu(gib=6))
    wanted = plan([box], [SMALL]).placed + plan([box], [OTHER]).placed
    waiting, waited = {"small": 4, "other": 1}, {"small": 10.0, "other": 100.0}
    now = what_now(box, Plan(wanted, (), ()), [], waiting=waiting, waited_seconds=waited)
    assert [each.model for each in now.have] == ["other"]


def test_what_nobody_asks_for_leaves_after_a_while() -> None:
    assert moves(8, [Resident("m", GIB, idle_seconds=IDLE_SECONDS - 1)], []) == {"m": "keep"}
    assert moves(8, [Resident("m", GIB, idle_seconds=IDLE_SECONDS)], []) == {"m": "unload"}


def test_what_an_admin_keeps_off_takes_no_new_answers_and_leaves_after_its_last() -> None:
    busy = Resident("busy", GIB, in_flight=2, idle_seconds=0, must_go=True)
    assert moves(8, [busy], []) == {"busy": "drain"}
    assert moves(8, [replace(busy, in_flight=0)], []) == {"busy": "unload"}


def test_the_demo_stays_until_another_is_ready_and_comes_back_when_none_is_left() -> None:
    demo = Resident("demo", GIB, is_demo=True)
    assert (
        moves(8, [demo, Resident("real", GIB, ready=False)], [Want("real", GIB, planned=True)])["demo"]
        == "keep"
    )
    assert moves(8, [demo, Resident("real", GIB)], [Want("real", GIB, planned=True)])["demo"] == "unload"
    assert moves(8, [], [Want("demo", GIB, is_demo=True)]) == {"demo": "load"}
    assert "demo" not in moves(8, [Resident("real", GIB)], [Want("demo", GIB, is_demo=True)])


SMALL = model("small", 4)
OTHER = model("other", 5)


def test_a_plan_is_carried_out_only_when_the_last_answer_is_given() -> None:
    box = node("box", cpu(gib=6))
    before = plan([box], [SMALL], demand=[demand("small")])
    after = plan([box], [SMALL, OTHER], demand=[demand("other", 5000)], running=carried_out(before))
    assert {each.model for each in after.placed} == {"other"}
    busy = [as_running(before.placed[0], in_flight=1)]
    now = what_now(box, after, busy)
    assert (now.keep, now.have) == (tuple(busy), ())
    idle = [as_running(before.placed[0], idle_seconds=1000)]
    now = what_now(box, after, idle)
    assert not now.keep and [each.model for each in now.have] == ["other"]
    assert [step.move for step in now.steps] == [Move.UNLOAD, Move.LOAD]
    done = what_now(box, after, carried_out(after))
    assert done.have == after.placed and not done.keep


def test_an_engine_with_other_settings_is_restarted_only_when_it_is_idle() -> None:
    box = node("box", cpu())
    wanted = plan([box], [SMALL, DEMO], wishes=Wishes(pinned=frozenset({("box", "small")})))
    old = as_running(wanted.on("box")[0], slots=1)
    assert what_now(box, wanted, [as_running(wanted.on("box")[0], slots=1, in_flight=1)]).have == ()
    now = what_now(box, wanted, [old])
    assert [each.slots for each in now.have] == [wanted.on("box")[0].slots] and not now.keep
