"""Links to workers: a real connection takes its time, a refusal measures as well, silence is no link."""

import pytest

from appliance.placement.links import Links, smoothed


def test_who_answers_has_a_link_though_nobody_listens_and_who_is_silent_has_none() -> None:
    links = Links()
    # nobody can be connected to all at once
    found = links.measure({"here": "127.0.0.77", "nowhere": "255.255.255.255"})
    assert list(found) == ["here"] and 0 < found["here"] < 1
    assert links.known(["here", "nowhere"]) == found
    assert links.measure({"here": "255.255.255.255"}) == {} == links.known(["here"])


def test_one_slow_answer_moves_a_link_a_little() -> None:
    assert smoothed(None, 0.002) == 0.002
    assert smoothed(0.002, 0.012) == pytest.approx(0.005)
