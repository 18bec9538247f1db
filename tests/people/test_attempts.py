"""Guessing is slow: per name and per address, also when many tries come at the same moment."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlite_utils import Database

from appliance.people import TooManyAttempts, attempts, forget_attempts, record_attempt
from appliance.people.attempts import (
    PER_ADDRESS,
    PER_NAME,
    WINDOW_SECONDS,
    forget_old_sign_in_attempts,
    wait_seconds,
)
from appliance.settings import Settings
from appliance.storage import open_activity


@pytest.fixture
def activity(settings: Settings) -> Iterator[Database]:
    database = open_activity(settings.state_dir)
    yield database
    database.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its only element is changed."""
    at = [1_000_000.0]
    monkeypatch.setattr(attempts, "now", lambda: at[0])
    return at


def test_the_wait_doubles_up_to_its_limit() -> None:
    waits = [wait_seconds(failures, 100.0, PER_NAME, 100.0) for failures in range(4, 14)]
    assert waits == [0, 5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert wait_seconds(5, 100.0, PER_NAME, 104.0) == 1
    assert wait_seconds(5, 100.0, PER_NAME, 200.0) == 0
    assert wait_seconds(10**6, 100.0, PER_NAME, 100.0) == 300


def test_a_name_waits_wherever_the_tries_come_from(activity: Database, clock: list[float]) -> None:
    for number in range(PER_NAME.free_failures):
        record_attempt(activity, "ana", f"10.0.0.{number}")
    with pytest.raises(TooManyAttempts) as refused:
        record_attempt(activity, "ana", "10.0.0.99")
    assert refused.value.retry_after_seconds == 5
    record_attempt(activity, "bob", "10.0.0.99")
    clock[0] += 5
    record_attempt(activity, "ana", "10.0.0.99")


def test_an_address_waits_whatever_names_it_tries(activity: Database, clock: list[float]) -> None:
    for number in range(PER_ADDRESS.free_failures):
        record_attempt(activity, f"name{number}", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        record_attempt(activity, "another", "10.0.0.1")
    record_attempt(activity, "another", "10.0.0.2")


def test_knocking_does_not_lengthen_the_wait(activity: Database, clock: list[float]) -> None:
    for _ in range(PER_NAME.free_failures):
        record_attempt(activity, "ana", "10.0.0.1")
    for _ in range(50):
        with pytest.raises(TooManyAttempts):
            record_attempt(activity, "ana", "10.0.0.1")
    clock[0] += 5
    record_attempt(activity, "ana", "10.0.0.1")


def test_success_forgives_the_name_but_not_the_address(activity: Database, clock: list[float]) -> None:
    for _ in range(4):
        record_attempt(activity, "ana", "10.0.0.1")
        record_attempt(activity, "bob", "10.0.0.1")
    forget_attempts(activity, record_attempt(activity, "ana", "10.0.0.1"), "ana")
    assert [row["name"] for row in activity["sign_in_attempts"].rows] == ["bob"] * 4


def test_failures_are_forgotten_after_the_window(activity: Database, clock: list[float]) -> None:
    for _ in range(PER_NAME.free_failures):
        record_attempt(activity, "ana", "10.0.0.1")
    clock[0] += WINDOW_SECONDS
    record_attempt(activity, "ana", "10.0.0.1")
    forget_old_sign_in_attempts(activity)
    assert activity["sign_in_attempts"].count == 1


def test_tries_at_the_same_moment_do_not_slip_through(settings: Settings, activity: Database) -> None:
    def attempt(_: int) -> bool:
        with open_activity(settings.state_dir) as own:
            try:
                record_attempt(own, "ana", "10.0.0.1")
            except TooManyAttempts:
                return False
            return True

    with ThreadPoolExecutor(12) as threads:
        passed = sum(threads.map(attempt, range(24)))
    assert passed == PER_NAME.free_failures
