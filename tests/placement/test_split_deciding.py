"""What becomes of a model that fits nobody: split by itself or by a word, kept, planned anew, ended."""

from dataclasses import replace
from typing import Any

import pytest

from appliance.engines.options import Kind
from appliance.engines.tending import EngineState
from appliance.placement.contract import ModelNeed, NodeFacts, Running, Wishes
from appliance.placement.current import CurrentPlan
from appliance.placement.history import History
from appliance.placement.planning import plan
from appliance.placement.sharding import Alternative, PlannedPart, SplitPlan, WhyNot
from appliance.placement.split_deciding import Asked, decide
from appliance.placement.split_rooms import has_made_room, room_bytes, runs_whole
from appliance.placement.split_watching import (
    HELD_BACK_SECONDS,
    LOST_AFTER_SECONDS,
    READY_WITHIN_SECONDS,
    SplitWatch,
)
from appliance.placement.splits import Split, Unsplit, beside_splits, without_heads
from appliance.placement.splitting import smaller_model
from appliance.placement.store import PlacementChoice, SplitWish
from appliance.settings import BOX_NODE
from tests.placement.fleets import DEMO, GIB, LLAMA, cpu, gpu, model, node
from tests.placement.test_sharding import BOX, MIXTURE, READABLE, station

SLOWER, FASTER = Alternative("small", "box", 9.0), Alternative("small", "a", 300.0)
ASKED = Asked(
    model=MIXTURE,
    digest="d",
    head=replace(BOX, id=BOX_NODE),
    others=(station("a"), station("b")),
    addresses={"a": "10.77.0.3", "b": "10.77.0.4", "c": "10.77.0.5"},
    alternative=SLOWER,
    least_tokens_per_second=READABLE,
)


def split(asked: Asked = ASKED, settled: Split | None = None, lost: tuple[str, ...] = ()) -> Split:
    found = decide(asked, settled, lost, 0)
    assert isinstance(found, Split), found
    return found


def unsplit(asked: Asked, settled: Split | None = None, lost: tuple[str, ...] = ()) -> Unsplit:
    found = decide(asked, settled, lost, 0)
    assert isinstance(found, Unsplit), found
    return found


def nodes(found: SplitPlan | None) -> list[str]:
    assert found
    return [part.node for part in found.parts]


def test_a_model_that_fits_nobody_is_split_and_knows_what_it_takes() -> None:
    found = split()
    assert nodes(found.plan) == ["a", "b"] and found.addresses == {"a": "10.77.0.3", "b": "10.77.0.4"}
    assert not found.is_insisted_on
    taken = sum(found.bytes_on(node) for node in (BOX_NODE, "a", "b"))
    assert taken > MIXTURE.weights.weights_bytes and found.bytes_on("c") == 0


def test_a_settled_split_stays_though_another_would_be_faster() -> None:
    settled = split()
    faster = replace(ASKED, others=(*ASKED.others, station("c", memory_gb=17, speed_gb=900)))
    assert nodes(split(faster).plan) != nodes(settled.plan)
    assert split(faster, settled) == settled
    assert split(replace(faster, by_itself=False), settled) == settled


def test_other_files_are_another_model() -> None:
    assert split(replace(ASKED, digest="e"), split()).digest == "e"


def test_a_lost_part_means_another_plan_or_the_reason_why_there_is_none() -> None:
    settled = split()
    again = split(replace(ASKED, others=(*ASKED.others, station("c"))), settled, ("a",))
    assert nodes(again.plan) == ["b", "c"] and again.plan.reasons[0] == "The part on a is lost."
    # of a node that is not there at all the name is still known
    refused = unsplit(replace(ASKED, others=(station("b"),)), settled, ("a", "b")).refused
    assert refused and refused.why is WhyNot.TOO_LARGE and refused.instead == SLOWER
    assert set(refused.reasons[0].removeprefix("The part on ").split(" is ")[0].split(", ")) == {"a", "b"}


def test_a_model_that_fits_one_node_is_nothing_to_split() -> None:
    assert decide(replace(ASKED, fits_one_node=True), split(), (), 0) is None


def test_a_slower_split_needs_an_admins_word_and_ends_with_it() -> None:
    asked = replace(ASKED, alternative=FASTER)
    refused = unsplit(asked).refused
    assert refused and refused.why is WhyNot.SLOWER_THAN_SMALLER and refused.instead == FASTER
    insisted = replace(asked, wish=SplitWish.ANYWAY)
    settled = split(insisted)
    assert settled.is_insisted_on and split(insisted, settled) == settled
    assert unsplit(asked, settled).refused == refused


def test_what_the_box_splits_by_itself_stays_when_the_word_is_taken_back() -> None:
    settled = split(replace(ASKED, wish=SplitWish.ANYWAY))
    assert not settled.is_insisted_on
    assert split(ASKED, settled) == settled


def test_where_plans_wait_for_a_word_a_split_does_too() -> None:
    waits = replace(ASKED, by_itself=False)
    assert nodes(unsplit(waits).possible) == ["a", "b"]
    wished = replace(waits, wish=SplitWish.ANYWAY)
    settled = split(wished)
    assert nodes(unsplit(waits, settled).possible) == ["a", "b"]
    # who said so once is not asked again when a part is lost
    again = replace(wished, others=(*ASKED.others, station("c")))
    assert nodes(split(again, settled, ("a",)).plan) == ["b", "c"]


def test_nothing_is_split_against_an_admins_word() -> None:
    never = replace(ASKED, wish=SplitWish.NEVER)
    for settled, lost in ((None, ()), (split(), ()), (split(), ("a",))):
        others = (*ASKED.others, station("c"))
        assert unsplit(replace(never, others=others), settled, lost).possible


def test_a_split_gives_back_what_an_admin_rules_out_and_needs_the_box_for_its_head() -> None:
    settled = split()
    others = (station("b"), station("c"))
    without_a = replace(ASKED, others=others, ruled_out=frozenset({"a"}))
    assert nodes(split(without_a, settled).plan) == ["b", "c"]
    refused = unsplit(replace(ASKED, ruled_out=frozenset({BOX_NODE})), settled).refused
    assert refused and refused.why is WhyNot.HEAD_RULED_OUT
    assert split(replace(ASKED, ruled_out=frozenset({"c"})), settled) == settled


def test_the_figures_alone_make_no_other_refusal() -> None:
    one = unsplit(replace(ASKED, alternative=FASTER))
    other = unsplit(replace(ASKED, alternative=replace(FASTER, tokens_per_second=310.0)))
    assert one != other and one.says_the_same(other)
    assert not one.says_the_same(unsplit(replace(ASKED, others=())))


def test_placement_sees_nodes_without_what_a_split_takes_and_not_its_head() -> None:
    settled = split()
    box, a, c = beside_splits(
        [node(BOX_NODE, cpu(24), gpu(22)), node("a", cpu(16)), node("c", cpu(16))], [settled]
    )
    assert [way.memory_bytes for way in box.ways] == [24 * GIB - settled.head_bytes, 22 * GIB]
    assert a.ways[0].memory_bytes == 16 * GIB - settled.plan.parts[0].memory_bytes
    assert c.ways[0].memory_bytes == 16 * GIB
    assert beside_splits([node("a", cpu(1))], [settled])[0].ways[0].memory_bytes == 0
    head = Running(BOX_NODE, MIXTURE.name, "d", LLAMA, "CPU", 4, 8192)
    copy = replace(head, node="a")
    assert without_heads([head, copy], [settled]) == (copy,)


def test_a_split_takes_what_is_left_and_more_where_an_admin_insists() -> None:
    boxed, pc = node(BOX_NODE, cpu(24)), node("pc", cpu(16))
    small = model("small", 3)
    placed = plan([boxed, pc], [small, DEMO], wishes=Wishes(copies=(("small", 2),))).placed
    assert {(each.node, each.model) for each in placed} == {(BOX_NODE, "small"), ("pc", "small")}
    on_box, on_pc = (next(each for each in placed if each.node == of) for of in (BOX_NODE, "pc"))
    assert room_bytes(pc.ways[0], "pc", placed) == 16 * GIB - on_pc.memory_bytes

    def insisted(of: NodeFacts, **more: Any) -> int:
        return room_bytes(of.ways[0], of.id, placed, is_insisted_on=True, **more)

    assert insisted(pc) == 16 * GIB, "another copy gives way"
    one_answer = on_box.weights_bytes + on_box.kv_bytes // on_box.slots + on_box.compute_bytes
    assert on_box.slots > 1 and insisted(boxed) == 24 * GIB - one_answer, "the last one stays"
    assert 16 * GIB > insisted(pc, pinned={("pc", "small")}) > room_bytes(pc.ways[0], "pc", placed)
    assert insisted(boxed, demos={"small"}) == 24 * GIB
    assert room_bytes(cpu(1), "pc", placed) == 0


def test_in_place_of_a_model_that_chats_one_that_chats_is_named() -> None:
    chats, vectors, large = model("small", 3), model("vectors", 4, kind=Kind.EMBEDDINGS), model("large", 70)
    boxed = (node(BOX_NODE, cpu(24), gpu(22), is_box=True),)

    def named(*models: ModelNeed) -> str | None:
        found = plan(boxed, (*models, DEMO))
        current = CurrentPlan(found, boxed, (), History(), PlacementChoice(), Wishes(), (*models, DEMO))
        instead = smaller_model(current, large)
        return instead.model if instead else None

    assert named(chats, vectors, large) == "small" and named(vectors, large) is None


def test_a_head_waits_until_what_gives_way_has_ended() -> None:
    settled = split()
    nodes = beside_splits(
        [node(BOX_NODE, cpu(12)), node("a", cpu(16), gpu(22)), node("b", cpu(12))], [settled]
    )
    left = nodes[1].ways[0].memory_bytes
    there = Running("a", "small", "d", LLAMA, "CPU", 1, 4096, memory_bytes=left)
    assert has_made_room(settled, nodes, [there], ())
    larger = replace(there, memory_bytes=left + 1)
    assert not has_made_room(settled, nodes, [larger], ())
    for other in (replace(larger, device="cuda"), replace(larger, node="elsewhere")):
        assert has_made_room(settled, nodes, [other], ())
    assert has_made_room(settled, nodes, [larger], {"small"}), "nobody waits for the demo"


def test_a_split_ends_when_its_model_is_ready_in_one_piece_or_must_make_room_for_that() -> None:
    # a model of 18 GB, of which the box and a lend 10 each
    large, lent = model("large", 30, active_parameters=3e9), int(10e9)
    part = PlannedPart("a", "a", 24, lent)
    settled = Split(
        plan=SplitPlan("large", 24, (part,), 9.0, ()), digest="d", addresses={"a": "10.77.0.3"},
        kv_tokens=8192, head_bytes=lent,
    )  # fmt: skip
    fleet = [node(BOX_NODE, cpu(12), is_box=True), node("a", cpu(16))]

    def whole(*more: NodeFacts, settled: Split | None = settled, running: tuple[Running, ...] = ()) -> bool:
        nodes = beside_splits([*fleet, *more], [settled] if settled else [])
        found = plan(nodes, [large, DEMO])
        current = CurrentPlan(found, nodes, running, History(), PlacementChoice(), Wishes(), (large, DEMO))
        return runs_whole(current, large, settled)

    assert not whole() and not whole(settled=None)
    station = node("station", cpu(8), gpu(40))
    assert whole(station, settled=None)
    assert not whole(station), "it is not ready there"
    loading = Running("station", "large", "d", LLAMA, "cuda", 1, 8192, ready=False)
    assert not whole(station, running=(loading,))
    assert whole(station, running=(replace(loading, ready=True),))
    fleet[1] = node("a", cpu(26))
    assert whole(), "its own memory is what it takes"
    fleet[:] = [node(BOX_NODE, cpu(12), gpu(40), is_box=True), node("a", cpu(16))]
    assert whole(), "on the box both would answer at one address"


class Told:
    """A split that is looked at again and again, with a clock of its own."""

    def __init__(self) -> None:
        self.watch, self.split, self.at = SplitWatch(), split(), 1000.0

    def lost(self, *well: str, after: float = 1.0, head: EngineState | None = None) -> set[str]:
        self.at += after
        return self.watch.lost(self.split, well, head, self.at)


def test_parts_have_time_to_come_and_a_short_absence_is_no_loss() -> None:
    told = Told()
    assert told.lost() == set() and told.lost(after=READY_WITHIN_SECONDS - 1) == set()
    assert told.lost("a", "b") == set()
    assert told.lost("b", after=LOST_AFTER_SECONDS - 1) == set()
    assert told.lost("a", "b", after=0.5) == set()
    assert told.lost("b", after=LOST_AFTER_SECONDS - 1) == set()
    assert told.lost("b", after=2) == {"a"}


def test_a_part_that_never_came_is_lost_and_its_node_held_back_for_a_while() -> None:
    told = Told()
    told.lost("a")
    assert told.lost("a", after=READY_WITHIN_SECONDS + 1) == {"b"}
    assert told.watch.held_back(told.at) == {"b"}
    assert told.watch.held_back(told.at + HELD_BACK_SECONDS + 1) == set()


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("It ended with status 76: The part on 10.77.0.4:8020 is lost: it was silent for 10 s.", {"b"}),
        ("It ended with status 1: it said nothing", {"a", "b"}),
    ],
)
def test_a_head_that_ends_again_and_again_does_not_work_with_its_parts(said: str, lost: set[str]) -> None:
    told = Told()
    told.lost("a", "b")
    for number in range(4):
        found = told.lost(
            "a", "b", after=5, head=EngineState(name="m", is_running=False, since=told.at, said=said)
        )
        # it is asked more often than it ends
        assert told.lost("a", "b") == found == (lost if number == 3 else set())


def test_a_head_that_ends_while_a_part_is_away_says_nothing_of_the_others() -> None:
    """As when the box starts, and the workers come one by one."""
    told = Told()
    for _ in range(8):
        head = EngineState(name="m", is_running=False, since=told.at, said="It ended with status 1: x")
        assert told.lost("a", after=5, head=head) == set()
    assert told.lost("a", "b", head=EngineState(name="m", is_running=True, since=told.at)) == set()


def test_endings_of_long_ago_do_not_count() -> None:
    told = Told()
    for _ in range(8):
        head = EngineState(name="m", is_running=False, since=told.at, said="It ended with status 76: x")
        assert told.lost("a", "b", after=1, head=head) == set()
        for _ in range(15):
            assert told.lost("a", "b", after=10) == set()


def test_a_model_is_homeless_only_without_a_break() -> None:
    watch = SplitWatch()
    assert watch.homeless_seconds("m", True, 100) == 0
    assert watch.homeless_seconds("m", True, 109) == 9
    assert watch.homeless_seconds("m", False, 110) == 0
    assert watch.homeless_seconds("m", True, 111) == 0
