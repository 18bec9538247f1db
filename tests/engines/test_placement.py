"""Which place a prompt gets, and how prompts share a step."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.placement import (
    Place,
    choose_placement,
    common_beginning,
    share_prefill,
    tokens_per_step,
)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_beginning_is_the_longest(first: list[int], second: list[int]) -> None:
    length = common_beginning(first, second)
    assert first[:length] == second[:length]
    assert length == min(len(first), len(second)) or first[length] != second[length]


def test_a_conversation_goes_on_in_its_place() -> None:
    places = [Place(0, [9, 9]), Place(1, [1, 2, 3, 4])]
    placement = choose_placement([1, 2, 3, 4, 5, 6], places)
    assert placement and (placement.place, placement.source, placement.reused) == (places[1], places[1], 4)


def test_another_branch_is_copied_and_leaves_the_first_whole() -> None:
    places = [Place(0), Place(1, [1, 2, 3, 4])]
    placement = choose_placement([1, 2, 7], places)
    assert placement and (placement.place, placement.source, placement.reused) == (places[0], places[1], 2)


def test_the_last_token_of_a_known_prompt_is_computed_again() -> None:
    placement = choose_placement([1, 2, 3], [Place(0, [1, 2, 3])])
    assert placement and placement.reused == 2


def test_a_running_sequence_lends_its_beginning_but_not_its_place() -> None:
    places = [Place(0, [1, 2, 3, 4], prompt=[1, 2, 3, 4]), Place(1, [8])]
    placement = choose_placement([1, 2, 3, 5], places)
    assert placement and (placement.place, placement.source, placement.reused) == (places[1], places[0], 3)


def test_a_prompt_waits_while_its_beginning_is_being_computed_by_another() -> None:
    beginning = list(range(100))
    places = [Place(0, beginning[:10], prompt=[*beginning, 1]), Place(1)]
    assert choose_placement([*beginning, 2], places) is None
    assert choose_placement([*beginning[:20], 2], places) is not None, "too little to wait for"
    places[0].tokens = [*beginning, 1]
    placement = choose_placement([*beginning, 2], places)
    assert placement and placement.reused == 100


def test_nothing_when_every_place_runs() -> None:
    assert choose_placement([1], [Place(0, [1], prompt=[1])]) is None


def test_what_was_unused_for_longest_makes_room_and_empty_places_come_first() -> None:
    places = [Place(0, [5], released_at_step=9), Place(1, [6], released_at_step=3), Place(2)]
    first = choose_placement([1, 2], places)
    assert first and first.place is places[2]
    second = choose_placement([1, 2], places[:2])
    assert second and second.place is places[1]


@given(st.lists(st.integers(0, 600), max_size=8), st.integers(0, 600))
def test_shares_use_the_budget_and_favour_nobody(remaining: list[int], budget: int) -> None:
    shares = share_prefill(remaining, budget)
    assert all(0 <= share <= wanted for share, wanted in zip(shares, remaining, strict=True))
    assert sum(shares) == min(budget, sum(remaining))
    cut = [share for share, wanted in zip(shares, remaining, strict=True) if share < wanted]
    if cut:
        assert max(shares) - min(cut) <= max(1, len(remaining)), (
            "nobody gets much more than one who wants more"
        )


def test_a_step_holds_as_many_tokens_as_its_time_allows() -> None:
    assert tokens_per_step(1000, 0.25, least=32, most=512) == 250
    assert tokens_per_step(10, 0.25, least=32, most=512) == 32
    assert tokens_per_step(1e6, 0.25, least=32, most=512) == 512
