"""The rule that places models: what must always hold, and what it decides and says in known cases."""

import random
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.models.memory import memory_need
from appliance.placement.contract import (
    LEAST_CONTEXT_TOKENS,
    Action,
    Demand,
    Measured,
    ModelNeed,
    NodeFacts,
    Wishes,
)
from appliance.placement.options import readable_slots
from appliance.placement.planning import plan
from tests.placement.fleets import (
    DEMO,
    GIB,
    LLAMA,
    OPENVINO,
    as_running,
    carried_out,
    cpu,
    demand,
    fleets,
    gpu,
    measured,
    model,
    node,
    where,
)

Fleet = tuple[list[NodeFacts], list[ModelNeed], list[Demand], Wishes]
SMALL, MIDDLE, LARGE = model("small", 4), model("middle", 8), model("large", 32)


@settings(max_examples=150, deadline=None)
@given(fleets())
def test_no_memory_is_ever_exceeded_and_no_model_is_twice_on_a_node(fleet: Fleet) -> None:
    nodes, models, asked, wishes = fleet
    found = plan(nodes, models, demand=asked, wishes=wishes)
    for each in nodes:
        there = found.on(each.id)
        for memory in {placed.way.memory for placed in there}:
            inside = [placed for placed in there if placed.way.memory == memory]
            limit = min(placed.way.memory_bytes for placed in inside)
            assert sum(placed.memory_bytes for placed in inside) <= limit
    assert len(where(found)) == len(found.placed)
    assert all(1 <= placed.slots <= placed.way.parallel for placed in found.placed)


@settings(max_examples=100, deadline=None)
@given(fleets())
def test_what_is_pinned_is_there_or_has_a_reason_and_what_must_never_be_is_not(fleet: Fleet) -> None:
    nodes, models, asked, wishes = fleet
    found = plan(nodes, models, demand=asked, wishes=wishes)
    told = {(each.node, each.model) for each in found.unplaced}
    assert wishes.pinned <= where(found) | told
    assert not wishes.pinned & told & where(found)
    assert not wishes.never & where(found)


@settings(max_examples=100, deadline=None)
@given(fleets())
def test_every_model_runs_somewhere_or_it_is_said_why_not(fleet: Fleet) -> None:
    nodes, models, asked, wishes = fleet
    found = plan(nodes, models, demand=asked, wishes=wishes)
    real = {each.name for each in models if not each.is_demo}
    assert real <= {each.model for each in found.placed} | {each.model for each in found.unplaced}
    sentences = [each.because for each in found.placed] + [each.because for each in found.unplaced]
    assert all(sentence.endswith(".") for sentence in sentences)


@settings(max_examples=60, deadline=None)
@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_does_not_matter(fleet: Fleet, draw: random.Random) -> None:
    nodes, models, asked, wishes = fleet
    first = plan(nodes, models, demand=asked, wishes=wishes)
    for facts in (nodes, models, asked):
        draw.shuffle(facts)
    assert plan(nodes, models, demand=asked, wishes=wishes) == first


@settings(max_examples=80, deadline=None, derandomize=True, phases=[Phase.generate])
@given(fleets(), st.randoms(use_true_random=False))
def test_small_changes_of_speed_and_demand_move_nothing(fleet: Fleet, draw: random.Random) -> None:
    nodes, models, asked, wishes = fleet
    first = plan(nodes, models, demand=asked, wishes=wishes)
    by_id, by_name = {each.id: each for each in nodes}, {each.name: each for each in models}
    benchmarks = [
        measured(
            by_id[placed.node],
            by_name[placed.model],
            placed.speed.alone * draw.uniform(0.95, 1.05),
            way=placed.way,
            digest=placed.digest,
            prompt=placed.speed.prompt * draw.uniform(0.95, 1.05),
            together=placed.speed.together * draw.uniform(0.95, 1.05),
            at_once=placed.speed.at_once,
        )
        for placed in first.placed
    ]
    asked = [
        Demand(each.model, *(figure * draw.uniform(0.95, 1.05) for figure in (
            each.requests_per_hour, each.prompt_tokens_per_hour, each.answer_tokens_per_hour)))
        for each in asked
    ]  # fmt: skip
    second = plan(nodes, models, measures=benchmarks, demand=asked, wishes=wishes, running=carried_out(first))
    moved = [each for each in second.changes if each.action not in (Action.KEEP, Action.LOAD)]
    assert not moved


def test_a_model_with_demand_beats_one_without() -> None:
    only = node("box", cpu(gib=6))
    found = plan([only], [SMALL, model("better", 5, quality=99)], demand=[demand("small")])
    assert where(found) == {("box", "small")}
    (left,) = found.unplaced
    assert left.model == "better"
    assert "GiB left beside small" in left.because and "of weights" in left.because


def test_the_more_wanted_of_two_models_gets_the_only_place_whatever_is_better() -> None:
    only = node("box", cpu(gib=6))
    found = plan([only], [SMALL, model("other", 5)], demand=[demand("small", 10), demand("other", 1000)])
    assert where(found) == {("box", "other")}


def test_a_model_that_would_be_too_slow_to_read_is_not_placed_and_the_figures_are_said() -> None:
    slow = node("pc", cpu(gib=32, gb_per_second=40))
    found = plan([slow], [LARGE], demand=[demand("large")])
    assert not found.placed
    assert "tokens/s" in found.unplaced[0].because and "a reader needs 7" in found.unplaced[0].because


def test_machines_of_one_kind_share_their_reason() -> None:
    small = [node(f"small {number}", cpu(gib=4)) for number in range(30)]
    found = plan([*small, node("slow", cpu(gib=64, gb_per_second=5))], [LARGE])
    (why,) = {each.because for each in found.unplaced}
    assert (
        "small 0 and 29 more: llama.cpp on CPU would answer" in why
        and "slow: llama.cpp on CPU would answer" in why
    )
    assert why.count("(50 GB/s over") == 1


def test_a_pin_overrides_the_speed_but_not_the_memory() -> None:
    slow = node("pc", cpu(gib=32, gb_per_second=40))
    pinned = Wishes(pinned=frozenset({("pc", "large")}))
    assert where(plan([slow], [LARGE, SMALL], wishes=pinned)) >= {("pc", "large")}
    tiny = node("pc", cpu(gib=4))
    found = plan([tiny], [LARGE], wishes=pinned)
    assert found.unplaced[0].node == "pc" and "4.0 GiB left" in found.unplaced[0].because


def test_the_only_place_of_a_large_model_is_not_taken_by_a_small_one_that_could_be_elsewhere() -> None:
    station, pc = node("station", gpu(gib=26)), node("pc", cpu())
    found = plan([station, pc], [SMALL, LARGE], demand=[demand("small", 2000), demand("large", 5)])
    assert where(found) >= {("station", "large")}
    assert any(each.model == "small" for each in found.placed)


def test_work_for_more_than_one_node_gets_more_nodes_and_says_so() -> None:
    pcs = [node(f"pc{number}", cpu()) for number in range(6)]
    few = plan(pcs, [SMALL, DEMO], demand=[demand("small", 5)])
    assert "Without it" not in " ".join(each.because for each in few.placed)
    many = plan(pcs, [SMALL], demand=[demand("small", 300)])
    assert sum("Without it" in each.because for each in many.placed) >= 1
    too_many = plan(pcs, [SMALL], demand=[demand("small", 30_000)])
    assert "times as much as its nodes can answer" in too_many.unplaced[-1].because


def test_the_faster_engine_is_picked_by_measurement_and_stays_unless_clearly_beaten() -> None:
    both = node("box", cpu(engine=LLAMA), cpu(engine=OPENVINO))
    llama, openvino = both.ways

    def chosen(fast: float, running: object = None) -> object:
        benchmarks = [
            measured(both, SMALL, 20, way=llama, at_once=4),
            measured(both, SMALL, fast, way=openvino, at_once=4),
        ]
        found = plan(
            [both],
            [SMALL],
            demand=[demand("small")],
            measures=benchmarks,
            running=[running] if running else [],  # type: ignore[list-item]
        )
        return found.placed[0]

    assert chosen(30).way.engine is OPENVINO  # type: ignore[attr-defined]
    now = chosen(12)
    assert now.way.engine is LLAMA  # type: ignore[attr-defined]
    there = as_running(now)  # type: ignore[arg-type]
    assert chosen(22, there).way.engine is LLAMA  # type: ignore[attr-defined]
    assert chosen(30, there).way.engine is OPENVINO  # type: ignore[attr-defined]


def test_history_changes_the_choice() -> None:
    """One of two stations shows itself to be slow with one model: it is believed less with others, too."""
    fast, steady = node("a", gpu(gb_per_second=900)), node("b", replace(gpu(gb_per_second=500), profile="x"))

    def server(nodes: list[NodeFacts], *benchmarks: Measured) -> str:
        found = plan(nodes, [MIDDLE], demand=[demand("middle", 1)], measures=benchmarks)
        return next(each.node for each in found.placed if "Asked" in each.because)

    assert server([fast, steady]) == "a"
    shown = measured(fast, SMALL, 20, predicted_alone=200, at_once=8)
    assert server([fast, steady], shown) == "b"
    # and a third one that is of its kind
    assert server([node("c", gpu(gb_per_second=900)), steady], shown) == "b"


def test_a_benchmark_of_a_tiny_model_says_nothing_of_a_real_one() -> None:
    """Its speed is that of choosing tokens, not of reading weights: no box may refuse a model for that."""
    box, tiny = node("box", cpu(gib=16, gb_per_second=300)), model("tiny", 0.006)
    (unmeasured,) = plan([box], [tiny]).placed
    assert unmeasured.speed.alone < 1000
    shown = measured(box, tiny, 200, predicted_alone=unmeasured.speed.alone)
    before = measured(box, tiny, 200, predicted_alone=20_000)
    (plain,) = plan([box], [MIDDLE], demand=[demand("middle")]).placed
    for benchmark in (shown, before):
        (placed,) = plan([box], [MIDDLE], demand=[demand("middle")], measures=[benchmark]).placed
        assert placed.speed == plain.speed


def test_the_demo_is_the_last_resort() -> None:
    box, weak = node("box", cpu()), node("weak", cpu(gib=0.5, gb_per_second=20))
    found = plan([box, weak], [SMALL, DEMO], demand=[demand("small", 1)])
    assert where(found) == {("box", "small"), ("weak", "demo")}
    assert where(plan([box, weak], [DEMO])) == {("box", "demo"), ("weak", "demo")}


def test_answers_at_once_are_as_many_as_stay_readable() -> None:
    (placed,) = plan([node("box", cpu(gib=64, gb_per_second=60, parallel=8))], [SMALL]).placed
    assert placed.slots == readable_slots(placed.speed, 8, 7.0) < 8


def test_a_model_takes_what_the_arithmetic_of_models_says() -> None:
    wide = SMALL.facts.model_copy(update={"vocabulary": 256_000, "embedding_width": 4096, "heads": 32})
    vast = replace(SMALL, facts=wide.model_copy(update={"weights_bytes": SMALL.files[0].weights_bytes}))
    (placed,) = plan([node("box", cpu(gib=16, gb_per_second=200))], [vast]).placed
    need = memory_need(vast.facts, placed.context_tokens, placed.slots)
    assert placed.slots > 1 and placed.memory_bytes == need.total_bytes
    assert placed.compute_bytes == need.compute_bytes > 0.1 * need.weights_bytes
    least = memory_need(vast.facts, LEAST_CONTEXT_TOKENS, 1).total_bytes
    assert plan([node("box", cpu(gib=least / GIB, gb_per_second=200))], [vast]).placed
    short = plan([node("box", cpu(gib=(least - 1) / GIB, gb_per_second=200))], [vast])
    assert not short.placed and f"needs {least / GIB:.1f}" in short.unplaced[0].because


def test_a_benchmark_with_one_answer_at_once_does_not_keep_an_engine_at_one() -> None:
    box = node("box", cpu(gib=64, gb_per_second=60, parallel=8))
    single = measured(box, SMALL, 25.0, at_once=1, together=25.0)
    (placed,) = plan([box], [SMALL], measures=[single]).placed
    (unmeasured,) = plan([box], [SMALL]).placed
    assert placed.slots > 1 and placed.speed.alone == 25.0
    gain = placed.speed.together / placed.speed.alone
    assert gain == pytest.approx(unmeasured.speed.together / unmeasured.speed.alone), "as the figures say"
    assert "more than 1 at once is estimated" in placed.because
    # and once it was measured with so many, this counts, also after nights with fewer
    wide = measured(box, SMALL, 25.0, at=2.0, at_once=placed.slots, together=26.0)
    fewer = measured(box, SMALL, 25.0, at=3.0, at_once=3, together=25.5)
    (after,) = plan([box], [SMALL], measures=[single, wide, fewer]).placed
    assert after.slots == 3


def test_a_lent_node_without_ways_is_named() -> None:
    found = plan([node("pc")], [SMALL])
    assert "nothing on pc is known to compute" in found.unplaced[0].because


def test_what_would_change_is_told_as_moves_loads_unloads_and_restarts() -> None:
    small_pc, station = node("pc", cpu(gib=5)), node("station", gpu())
    first = plan([small_pc], [SMALL], demand=[demand("small")])
    running = carried_out(first)
    second = plan([station], [SMALL], demand=[demand("small")], running=running)
    (move,) = second.changes
    assert (move.action, move.node, move.to_node) == (Action.MOVE, "pc", "station")
    gone = plan([small_pc], [], running=[as_running(first.placed[0], in_flight=2)])
    (unload,) = gone.changes
    assert unload.action is Action.UNLOAD and "2 running answers" in unload.because
    other = [as_running(first.placed[0], digest="old")]
    (restart,) = plan([small_pc], [SMALL], demand=[demand("small")], running=other).changes
    assert restart.action is Action.RESTART and "other files" in restart.because


def test_a_fleet_of_three_hundred_is_planned_in_a_moment() -> None:
    fleet = [node(f"pc{number:03}", cpu(gib=6 + number % 9)) for number in range(300)]
    found = plan(fleet, [SMALL, MIDDLE, DEMO], demand=[demand("small", 2000), demand("middle", 500)])
    assert len({each.node for each in found.placed}) == 300
    assert all(each.memory_bytes <= each.way.memory_bytes < 16 * GIB for each in found.placed)
