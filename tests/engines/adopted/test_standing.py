"""When a server is looked at and checked, and what follows, on a clock of the test's own."""

from dataclasses import replace

import pytest

from appliance.engines.adopted.checking import Verdict
from appliance.engines.adopted.measuring import at_once, rate
from appliance.engines.adopted.probing import Streamed
from appliance.engines.adopted.standing import (
    CHECK_EVERY_SECONDS,
    LONGEST_RETRY_SECONDS,
    LOOK_EVERY_SECONDS,
    SILENT_LOOKS,
    Deed,
    Standing,
    after_check,
    after_look,
    after_silence,
    next_deed,
    retry_seconds,
)

FIT = Verdict((), "1:" + "a" * 12, None)
READY = after_check(Standing(), FIT, "digest", 100.0)


def test_the_first_thing_is_a_check_and_a_fit_one_is_the_adoption() -> None:
    assert next_deed(Standing(), 0.0, idle=True) is Deed.CHECK
    assert READY.ready and READY.trouble == "" and READY.fingerprint == FIT.fingerprint
    again = after_check(READY, replace(FIT, fingerprint="1:" + "b" * 12), "digest", 200.0)
    assert again.fingerprint == FIT.fingerprint, "rounding does not move the mark"


def test_a_look_every_few_seconds_and_a_check_when_nobody_asks() -> None:
    assert next_deed(READY, 100.0 + LOOK_EVERY_SECONDS / 2, idle=True) is Deed.REST
    assert next_deed(READY, 100.0 + LOOK_EVERY_SECONDS, idle=False) is Deed.LOOK
    late = 100.0 + CHECK_EVERY_SECONDS
    looked = after_look(READY, "digest", late - 0.5)
    assert next_deed(looked, late, idle=True) is Deed.CHECK
    assert next_deed(looked, late, idle=False) is Deed.REST


def test_what_shows_another_model_serves_nobody_until_it_is_checked() -> None:
    changed = after_look(READY, "another digest", 103.0)
    assert not changed.ready and "has changed" in changed.trouble
    assert next_deed(changed, 103.0, idle=False) is Deed.CHECK


def test_one_look_without_an_answer_is_forgiven_and_a_lost_server_is_not() -> None:
    slow = after_silence(READY, "silent", 103.0, is_gone=False)
    assert slow.ready
    assert not after_silence(slow, "silent", 106.0, is_gone=False).ready
    assert SILENT_LOOKS == 2
    gone = after_silence(READY, "gone", 103.0, is_gone=True)
    assert not gone.ready and gone.trouble == "gone" and gone.fingerprint == READY.fingerprint


def test_checks_that_fail_come_ever_more_seldom() -> None:
    standing = Standing()
    bad = Verdict(("It answers garbage.", "It does not stream."), "", None)
    for number in range(12):
        standing = after_check(standing, bad, "", float(number))
    assert standing.trouble == "It answers garbage. It does not stream."
    assert retry_seconds(0) == 0 and retry_seconds(1) == 0.5 and retry_seconds(2) == 1.0
    assert retry_seconds(standing.failures) == LONGEST_RETRY_SECONDS
    assert next_deed(standing, 11.0 + LONGEST_RETRY_SECONDS / 2, idle=True) is Deed.REST
    assert next_deed(standing, 11.0 + LONGEST_RETRY_SECONDS, idle=True) is Deed.CHECK


def stream(first_at: float, last_at: float, tokens: int = 64) -> Streamed:
    usage = {"prompt_tokens": 9, "completion_tokens": tokens}
    return Streamed(({"choices": [], "usage": usage},), tokens, first_at, last_at)


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ([stream(0, 1), stream(0, 1), stream(0.5, 1.5)], 3),
        ([stream(0, 1), stream(1.1, 2), stream(2.1, 3)], 1),
        ([stream(0, 1), stream(0, 1), stream(1.1, 2), stream(1.1, 2)], 2),
        ([stream(0, 1, tokens=3)], 0),
        ([Streamed(trouble="lost")], 0),
        ([], 0),
    ],
)
def test_as_many_as_are_written_at_one_moment_are_its_slots(streams: list[Streamed], expected: int) -> None:
    assert at_once(streams) == expected


def test_the_rate_is_of_all_together() -> None:
    assert rate([stream(10, 12), stream(10, 12)]) == pytest.approx(64.0)
    assert rate([]) == 0 and rate([stream(1, 1)]) == 0
