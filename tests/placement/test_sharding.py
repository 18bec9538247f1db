"""Splitting a model over nodes: where it is worth it, where it is refused with which sum, after a loss."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engines.sharding.parts import read_parts
from appliance.engines.sharding.sizes import Weights, affordable_kv_tokens, part_bytes
from appliance.placement.sharding import (
    Alternative,
    NoSplit,
    SplitPlan,
    WhyNot,
    plan_after_loss,
    plan_split,
)
from appliance.placement.split_cost import SplitModel, SplitNode, whole_bytes

GB = 10**9
READABLE = 7.0


def weights(layers: int = 48, layer_bytes: int = 350_000_000) -> Weights:
    """A mixture of 30 billion parameters at 4 bit, like Qwen3-30B-A3B."""
    return Weights(
        layer_bytes=(layer_bytes,) * layers,
        other_bytes=700_000_000,
        largest_tensor_bytes=110_000_000,
        kv_bytes_per_layer_token=2 * 4 * 128 * 2,
        embedding_width=2048,
        feed_forward_width=768,
        context_tokens_trained=40960,
    )


MIXTURE = SplitModel("qwen3-30b-a3b", weights(), kv_tokens=8192, active_share=0.11)
DENSE = SplitModel("dense-70b", weights(80, 500_000_000), kv_tokens=8192)
BOX = SplitNode("box", "box", 10 * GB, 50 * GB)


def station(name: str, memory_gb: float = 12, speed_gb: float = 300, latency: float = 0.0005) -> SplitNode:
    return SplitNode(name, name, int(memory_gb * GB), speed_gb * GB, latency, 110e6)


def split(answer: SplitPlan | NoSplit) -> SplitPlan:
    assert isinstance(answer, SplitPlan), answer
    return answer


def no_split(answer: SplitPlan | NoSplit) -> NoSplit:
    assert isinstance(answer, NoSplit), answer
    return answer


def test_a_mixture_that_fits_nobody_goes_to_the_fast_ones_and_says_its_sum() -> None:
    slow = Alternative("qwen3-8b", "box", 9.0)
    plan = split(
        plan_split(
            MIXTURE, BOX, [station("a"), station("b")], alternative=slow, least_tokens_per_second=READABLE
        )
    )
    assert [part.node for part in plan.parts] == ["a", "b"]
    assert plan.head_layers + sum(part.layers for part in plan.parts) == 48
    assert plan.tokens_per_second > 9
    assert any("of 48 layers" in reason and "MB/s" in reason for reason in plan.reasons)
    assert f"{plan.tokens_per_second:.1f} tokens/s" in plan.reasons[-1]


def test_a_token_reads_the_cache_of_its_answer_too() -> None:
    others = [station("a"), station("b")]
    plans = [
        split(plan_split(model, BOX, others, alternative=None, least_tokens_per_second=READABLE))
        for model in (replace(MIXTURE, cached_tokens=0), MIXTURE)
    ]
    seconds = 1 / plans[1].tokens_per_second - 1 / plans[0].tokens_per_second
    cached = 1000 * 2 * 4 * 128 * 2
    read = plans[1].head_layers * cached / 50e9 + (48 - plans[1].head_layers) * cached / 300e9
    assert plans[0].head_layers == plans[1].head_layers
    assert seconds == pytest.approx(read)


def test_one_part_is_better_than_two_where_it_has_the_room() -> None:
    two = split(
        plan_split(
            MIXTURE, BOX, [station("a"), station("b")], alternative=None, least_tokens_per_second=READABLE
        )
    )
    # all layers fit there, but not the vocabulary beside them
    roomy = [station("a", 18), station("b")]
    one = split(plan_split(MIXTURE, BOX, roomy, alternative=None, least_tokens_per_second=READABLE))
    assert [part.node for part in two.parts] == ["a", "b"]
    assert [part.node for part in one.parts] == ["a"]
    assert one.tokens_per_second > two.tokens_per_second


def test_what_fits_one_node_is_not_split() -> None:
    answer = no_split(
        plan_split(MIXTURE, BOX, [station("big", 24)], alternative=None, least_tokens_per_second=READABLE)
    )
    assert answer.why is WhyNot.FITS_ONE_NODE
    assert "fits on big alone" in answer.reasons[0]


def test_what_fits_nowhere_is_refused_with_what_there_is() -> None:
    smaller = Alternative("qwen3-8b", "a", 40.0)
    answer = no_split(
        plan_split(DENSE, BOX, [station("a")], alternative=smaller, least_tokens_per_second=READABLE)
    )
    assert answer.why is WhyNot.TOO_LARGE
    assert "a 12.00 GB" in answer.reasons[0]
    assert answer.instead == smaller


def test_slower_than_a_smaller_model_on_one_node_is_refused_with_both_speeds() -> None:
    faster = Alternative("qwen3-8b", "a", 80.0)
    others = [station("a", latency=0.01), station("b", latency=0.01)]
    answer = no_split(plan_split(MIXTURE, BOX, others, alternative=faster, least_tokens_per_second=READABLE))
    assert answer.why is WhyNot.SLOWER_THAN_SMALLER
    assert answer.instead == faster
    assert "qwen3-8b on a alone makes 80.0 tokens/s, which is faster." in answer.reasons[-1]
    wanted = split(
        plan_split(
            MIXTURE,
            BOX,
            others,
            alternative=faster,
            least_tokens_per_second=READABLE,
            is_insisted_on=True,
        )
    )
    assert "an admin wants qwen3-30b-a3b all the same" in wanted.reasons[-1]


def test_what_nobody_would_wait_for_is_refused_even_if_an_admin_insists() -> None:
    pcs = [station(f"pc{number}", 12, 20) for number in range(4)]
    answer = no_split(
        plan_split(DENSE, BOX, pcs, alternative=None, least_tokens_per_second=READABLE, is_insisted_on=True)
    )
    assert answer.why is WhyNot.TOO_SLOW_TO_READ
    assert "7.0 tokens/s that a reader needs" in answer.reasons[-1]


def test_a_lost_part_means_another_split_or_what_to_run_instead() -> None:
    others = [station("a"), station("b"), station("c", 12, 100)]
    smaller = Alternative("qwen3-8b", "box", 8.0)
    plan = split(plan_split(MIXTURE, BOX, others, alternative=smaller, least_tokens_per_second=READABLE))
    assert "c" not in {part.node for part in plan.parts}
    after = split(
        plan_after_loss(MIXTURE, BOX, others, {"b"}, alternative=smaller, least_tokens_per_second=READABLE)
    )
    assert "b" not in {part.node for part in after.parts}
    assert after.reasons[0] == "The part on b is lost."
    assert after.tokens_per_second <= plan.tokens_per_second
    none = no_split(
        plan_after_loss(
            MIXTURE, BOX, others, {"a", "b", "c"}, alternative=smaller, least_tokens_per_second=READABLE
        )
    )
    assert none.why is WhyNot.TOO_LARGE and none.instead == smaller


def test_the_plan_is_the_heads_setting() -> None:
    plan = split(
        plan_split(
            MIXTURE, BOX, [station("a"), station("b")], alternative=None, least_tokens_per_second=READABLE
        )
    )
    addresses = {"a": IPv4Address("10.77.0.2"), "b": IPv4Address("10.77.0.3")}
    parts = read_parts(plan.setting(addresses))
    assert [(str(part.address), part.layers) for part in parts] == [
        (f"{addresses[part.node]}:8020", part.layers) for part in plan.parts
    ]


def test_a_node_of_unknown_speed_or_link_is_no_part() -> None:
    unknown = [replace(station("a"), link_bytes_per_second=0.0), replace(station("b"), bytes_per_second=0.0)]
    answer = no_split(plan_split(MIXTURE, BOX, unknown, alternative=None, least_tokens_per_second=READABLE))
    assert answer.why is WhyNot.TOO_LARGE


nodes = st.lists(
    st.builds(
        SplitNode,
        id=st.sampled_from("abcdefgh"),
        name=st.just("n"),
        memory_bytes=st.integers(0, 20 * GB),
        bytes_per_second=st.floats(1e9, 2e12),
        link_seconds=st.floats(0, 0.05),
        link_bytes_per_second=st.floats(1e6, 2e9),
    ),
    max_size=5,
    unique_by=lambda node: node.id,
)
heads = st.builds(
    SplitNode,
    id=st.just("box"),
    name=st.just("box"),
    memory_bytes=st.integers(0, 20 * GB),
    bytes_per_second=st.floats(1e9, 2e12),
)
models = st.builds(
    SplitModel,
    name=st.just("m"),
    weights=st.builds(weights, st.integers(1, 90), st.integers(10**6, 10**9)),
    kv_tokens=st.integers(0, 65536),
    active_share=st.floats(0.05, 1.0),
)


@given(models, heads, nodes)
@settings(max_examples=200, deadline=None)
def test_every_split_holds_all_layers_and_nobody_more_than_it_lends(
    model: SplitModel, head: SplitNode, others: list[SplitNode]
) -> None:
    answer = plan_split(model, head, others, alternative=None, least_tokens_per_second=0.0)
    assert answer.reasons
    if isinstance(answer, NoSplit):
        return
    memory = {node.id: node.memory_bytes for node in others}
    assert answer.head_layers + sum(part.layers for part in answer.parts) == model.weights.layers
    assert all(part.layers >= 1 and part.memory_bytes <= memory[part.node] for part in answer.parts)
    kept = part_bytes(model.weights, 0, answer.head_layers, model.kv_tokens) + model.weights.other_bytes
    assert kept <= head.memory_bytes
    assert all(node.memory_bytes < whole_bytes(model) for node in (head, *others))


@given(models, heads, nodes, st.floats(1.01, 4.0))
@settings(max_examples=100, deadline=None)
def test_a_longer_way_is_never_faster(
    model: SplitModel, head: SplitNode, others: list[SplitNode], factor: float
) -> None:
    near = plan_split(model, head, others, alternative=None, least_tokens_per_second=0.0)
    further = [
        replace(
            node,
            link_seconds=node.link_seconds * factor,
            link_bytes_per_second=node.link_bytes_per_second / factor,
        )
        for node in others
    ]
    far = plan_split(model, head, further, alternative=None, least_tokens_per_second=0.0)
    assert isinstance(near, SplitPlan) == isinstance(far, SplitPlan)
    if isinstance(near, SplitPlan) and isinstance(far, SplitPlan):
        assert far.tokens_per_second <= near.tokens_per_second * (1 + 1e-9)


@given(models, heads, nodes, st.sets(st.sampled_from("abcdefgh")))
@settings(max_examples=100, deadline=None)
def test_a_loss_never_makes_it_faster_and_never_uses_the_lost(
    model: SplitModel, head: SplitNode, others: list[SplitNode], lost: set[str]
) -> None:
    before = plan_split(model, head, others, alternative=None, least_tokens_per_second=0.0)
    after = plan_after_loss(model, head, others, lost, alternative=None, least_tokens_per_second=0.0)
    if isinstance(after, SplitPlan):
        assert not {part.node for part in after.parts} & lost
    if isinstance(before, SplitPlan) and isinstance(after, SplitPlan):
        assert after.tokens_per_second <= before.tokens_per_second * (1 + 1e-9)


@given(st.integers(1, 40), st.integers(0, 10 * GB))
def test_what_is_said_to_fit_does_and_one_token_more_does_not(layers: int, memory_bytes: int) -> None:
    tokens = affordable_kv_tokens(weights(), 0, layers, memory_bytes)
    if tokens < 0:
        assert part_bytes(weights(), 0, layers, 0) > memory_bytes
        return
    assert part_bytes(weights(), 0, layers, tokens) <= memory_bytes
    assert part_bytes(weights(), 0, layers, tokens + 1) > memory_bytes


@pytest.mark.parametrize("least", [0.0, READABLE])
def test_no_other_nodes_means_no_split(least: float) -> None:
    answer = no_split(plan_split(MIXTURE, BOX, [], alternative=None, least_tokens_per_second=least))
    assert answer.why is WhyNot.TOO_LARGE
