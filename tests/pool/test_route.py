"""The rule that chooses the node: pure, and it says why."""

from dataclasses import dataclass

from appliance.pool.route import choose


@dataclass(frozen=True)
class Known:
    node: str
    model: str = "m"
    unusable: str = ""
    slots: int = 4
    in_flight: int = 0
    outstanding_tokens: float = 0
    tokens_per_second: float = 10
    prompt_tokens: int = 0

    @property
    def node_id(self) -> str:
        return f"id-{self.node}"


def test_the_least_work_for_the_capacity_wins_not_the_least_work() -> None:
    slow = Known("pc", outstanding_tokens=100, tokens_per_second=5)
    fast = Known("station", outstanding_tokens=900, tokens_per_second=100)
    route = choose("m", 100, [slow, fast])
    assert route.chosen is fast
    assert dict(route.reasons) == {
        "station": "chosen: done first, after about 10.0 s",
        "pc": "slower, after about 40.0 s",
    }


def test_every_rejected_node_is_named_with_its_reason() -> None:
    nodes = [
        Known("other", model="x"),
        Known("quiet", unusable="silent"),
        Known("full", slots=2, in_flight=2),
    ]
    route = choose("m", 1, nodes)
    assert route.chosen is None
    assert dict(route.reasons) == {"other": "holds x", "quiet": "silent", "full": "all 2 slots are taken"}


def test_a_capacity_of_zero_does_not_divide_by_zero() -> None:
    only = Known("new", tokens_per_second=0)
    assert choose("m", 1, [only]).chosen is only


def test_no_nodes_no_choice() -> None:
    nothing: list[Known] = []
    assert choose("m", 1, nothing).chosen is None


def test_an_engine_whose_prompts_are_shorter_is_passed_over_and_says_so() -> None:
    npu = Known("npu", tokens_per_second=100, prompt_tokens=512)
    cpu = Known("cpu", tokens_per_second=1)
    route = choose("m", 10, [npu, cpu], prompt_tokens=600)
    assert route.chosen is cpu and route.unfit
    assert dict(route.reasons)["npu"] == "takes prompts of 512 tokens; this one has at least 600"
    assert choose("m", 10, [npu, cpu], prompt_tokens=512).chosen is npu


def test_a_node_that_refused_the_prompt_is_not_asked_again() -> None:
    npu, cpu = Known("npu", tokens_per_second=100, prompt_tokens=512), Known("cpu")
    route = choose("m", 10, [npu, cpu], refused_by=frozenset({"id-npu"}))
    assert route.chosen is cpu
    assert dict(route.reasons)["npu"] == "did not take this prompt"
    assert choose("m", 10, [npu], refused_by=frozenset({"id-npu"})).chosen is None


def test_only_a_free_slot_makes_a_route_unfit() -> None:
    full = Known("npu", slots=1, in_flight=1, prompt_tokens=512)
    assert not choose("m", 10, [full], prompt_tokens=600).unfit
