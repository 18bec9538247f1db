"""Pure rules of a hand-out: pace, hours, who is linked with whom."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.handout import HandoutChoice, HandoutTime, handout_permission
from appliance.handout.hours import orders_of
from appliance.handout.rate import BURST_SECONDS, TokenBucket, lower_cap
from appliance.handout.sharing import NEIGHBOURS_ON_EACH_SIDE, Holder, share_out

NIGHTLY = HandoutChoice(when=HandoutTime.OUTSIDE_OFFICE_HOURS, timezone="Europe/Berlin")


@given(
    st.lists(st.tuples(st.integers(1, 300_000), st.floats(0, 3)), min_size=1, max_size=60),
    st.integers(1000, 1_000_000),
)
def test_a_bucket_never_lets_more_through_than_its_rate(steps: list[tuple[int, float]], rate: int) -> None:
    """Whoever waits as told sends at most the rate times the time, and what may go after a pause."""
    bucket, now, sent = TokenBucket(rate), 0.0, 0
    for count, idle_seconds in steps:
        now += idle_seconds
        sent += count
        now += bucket.take(count, now)
        assert sent <= rate * (now + BURST_SECONDS) + 1


def test_a_bucket_without_a_cap_never_waits_and_a_new_cap_forgives() -> None:
    bucket = TokenBucket()
    assert bucket.take(1 << 40, 0.0) == 0
    bucket.set_rate(100)
    assert bucket.take(1000, 0.0) == 10
    bucket.set_rate(1000)
    assert bucket.take(1000, 0.0) == 1


def test_the_lower_of_two_caps_counts_and_zero_is_none() -> None:
    assert [lower_cap(*caps) for caps in ((0, 0), (5, 0), (0, 5), (3, 5), (5, 3))] == [0, 5, 5, 3, 3]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_given", "for_minutes"),
    [
        ("2026-01-05T06:59", True, 1),  # a Monday in winter: Berlin is one hour ahead
        ("2026-01-05T07:00", False, 600),
        ("2026-01-05T16:59", False, 1),
        ("2026-01-05T17:00", True, 360),
        ("2026-07-06T06:00", False, 600),  # a Monday in summer: two hours
        ("2026-01-10T11:00", True, 720),  # a Saturday
    ],
)
def test_office_hours_are_those_of_the_offices_clock(moment: str, is_given: bool, for_minutes: int) -> None:
    permission = handout_permission(NIGHTLY, at(moment))
    assert (permission.is_given, permission.changes_in_seconds) == (is_given, for_minutes * 60)
    assert ("08:00-18:00" in permission.reason) is not is_given
    orders = orders_of(NIGHTLY, permission)
    assert (orders.may_fetch, bool(orders.reason)) == (is_given, not is_given)


def test_at_any_time_means_so() -> None:
    assert handout_permission(HandoutChoice(), at("2026-01-05T12:00")).is_given


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"office_hours": ("08:00-18:00",) * 6},
        {"office_hours": ("18:00-08:00",) * 7},
        {"office_hours": ("8-18",) * 7},
        {"box_bytes_per_second": -1},
        {"box_bytes_per_second": 1000},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HandoutChoice.model_validate(wrong)


def holders(complete: int, fetching: int) -> list[Holder]:
    return [Holder(f"c{number}", True) for number in range(complete)] + [
        Holder(f"f{number}", False) for number in range(fetching)
    ]


def test_four_that_fetch_are_all_linked_and_each_has_its_part() -> None:
    ring = share_out("d", holders(0, 4))
    assert len(ring.links) == 4 * 3
    assert sorted(ring.fetching) == ["f0", "f1", "f2", "f3"]


@given(st.integers(0, 60), st.integers(0, 60))
def test_links_go_both_ways_and_nobody_has_many(complete: int, fetching: int) -> None:
    ring = share_out("d", holders(complete, fetching))
    assert {(other, one) for one, other in ring.links} == ring.links
    for one in holders(complete, fetching):
        mine = [other for first, other in ring.links if first == one.worker_id]
        assert len(mine) <= 2 * NEIGHBOURS_ON_EACH_SIDE
        assert one.worker_id not in mine
        # two that lack nothing are not linked, and one that lacks something has somebody to ask
        assert not one.is_complete or not any(other.startswith("c") for other in mine)
        assert one.is_complete or mine or complete + fetching == 1


def test_a_pair_that_distrusts_each_other_is_not_linked() -> None:
    ring = share_out("d", holders(1, 2), avoided=[("f0", "c0")])
    assert ("f0", "c0") not in ring.links and ("c0", "f0") not in ring.links
    assert ("f1", "c0") in ring.links


def test_different_models_make_different_neighbours() -> None:
    many = holders(40, 1)
    neighbours = {frozenset(other for one, other in share_out(d, many).links if one == "f0") for d in "abcd"}
    assert len(neighbours) == 4
