"""The pure rules: which is newer, whose turn it is, when the window is open."""

from datetime import datetime, time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.updating.choice import UpdateChoice, outbound_of
from appliance.updating.release import Release, WaveStep
from appliance.updating.version_order import is_newer
from appliance.updating.wave import place_in_queue, turn_comes_at
from appliance.updating.window import Weekday, Window, is_open, opens_at

PARIS = ZoneInfo("Europe/Paris")
NIGHT = Window(begins=time(22, 0), ends=time(4, 0))
EARLY = Window(begins=time(1, 0), ends=time(5, 0))


def a_release(
    version: str = "1.0.0", waves: tuple[WaveStep, ...] = (WaveStep(percent=100, after_hours=0),)
) -> Release:
    return Release(
        version=version,
        manifest_hash="0" * 64,
        compatible="test",
        published_at=1000,
        waves=waves,
        bundle=f"cellule-{version}.raucb",
        size_bytes=1,
    )


def paris(text: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).timestamp()


# as `systemd-analyze compare-versions` of systemd 257 orders them
IN_ORDER = [
    "0.9",
    "1.0~rc1",
    "1.0~rc1-2",
    "1.0",
    "1.0-1",
    "1.0.a",
    "1.0.1",
    "1.0.9",
    "1.0.10",
    "1.0a",
    "1.9",
    "1.10",
    "2",
]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(IN_ORDER)))
def test_versions_are_in_the_order_of_the_boot_loader(older: str, newer: str) -> None:
    assert is_newer(newer, older)
    assert not is_newer(older, newer)
    assert not is_newer(newer, newer)


def test_boxes_are_spread_evenly_and_anew_for_each_release() -> None:
    places = [place_in_queue(f"box-{number}", "1.0.0") for number in range(4000)]
    for percent in (5, 50, 90):
        assert sum(place < percent for place in places) / 40 == pytest.approx(percent, abs=2.5)
    first = {f"box-{n}" for n in range(4000) if place_in_queue(f"box-{n}", "1.0.0") < 5}
    again = {f"box-{n}" for n in range(4000) if place_in_queue(f"box-{n}", "1.0.1") < 5}
    assert len(first & again) < len(first) / 4, "not always the same ones are first"


def test_the_turn_comes_with_the_wave_that_reaches_the_box() -> None:
    waves = (WaveStep(percent=5, after_hours=0), WaveStep(percent=50, after_hours=48))
    turns = {turn_comes_at(a_release(waves=waves), f"box-{number}") for number in range(200)}
    assert turns == {1000.0, 1000.0 + 48 * 3600, None}


@pytest.mark.parametrize("waves", [[], [(50, 0), (5, 10)], [(5, 10), (50, 0)]])
def test_a_wave_plan_that_shrinks_is_none(waves: list[tuple[int, int]]) -> None:
    with pytest.raises(ValidationError):
        a_release(waves=tuple(WaveStep(percent=percent, after_hours=hours) for percent, hours in waves))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-06-01T21:59:59", False),
        ("2026-06-01T22:00:00", True),
        ("2026-06-01T23:59:59", True),
        ("2026-06-02T00:00:00", True),
        ("2026-06-02T03:59:59", True),
        ("2026-06-02T04:00:00", False),
    ],
)
def test_a_window_reaches_across_midnight(moment: str, expected: bool) -> None:
    assert is_open(NIGHT, paris(moment), PARIS) is expected


def test_the_night_belongs_to_the_day_on_which_it_begins() -> None:
    fridays = NIGHT.model_copy(update={"days": frozenset({Weekday.FRIDAY})})
    assert is_open(fridays, paris("2026-06-06T03:00"), PARIS), "Saturday before dawn"
    assert not is_open(fridays, paris("2026-06-05T03:00"), PARIS), "Friday before dawn"
    assert opens_at(fridays, paris("2026-06-06T05:00"), PARIS) == paris("2026-06-12T22:00")


def test_the_same_time_twice_is_the_whole_day() -> None:
    whole = Window(days=frozenset({Weekday.MONDAY}), begins=time(3), ends=time(3))
    assert is_open(whole, paris("2026-06-02T02:59"), PARIS)
    assert not is_open(whole, paris("2026-06-02T03:00"), PARIS)


def test_the_hour_that_is_skipped_is_missing_from_the_window() -> None:
    # 2026-03-29 in Paris: 02:00 CET is followed by 03:00 CEST
    assert is_open(EARLY, paris("2026-03-29T01:59"), PARIS)
    assert is_open(EARLY, paris("2026-03-29T01:59") + 60, PARIS), "03:00"
    assert not is_open(EARLY, paris("2026-03-29T05:00"), PARIS)
    assert paris("2026-03-29T05:00") - paris("2026-03-29T01:00") == 3 * 3600
    gone = Window(begins=time(2, 10), ends=time(2, 50))
    assert opens_at(gone, paris("2026-03-28T12:00"), PARIS) == paris("2026-03-30T02:10")


def test_the_hour_that_comes_twice_is_open_twice() -> None:
    # 2026-10-25 in Paris: 03:00 CEST is followed by 02:00 CET
    short = Window(begins=time(2, 0), ends=time(2, 30))
    for fold in (0, 1):
        assert is_open(short, paris("2026-10-25T02:15", fold=fold), PARIS)
        assert not is_open(short, paris("2026-10-25T02:45", fold=fold), PARIS)


def test_a_window_without_days_is_none() -> None:
    with pytest.raises(ValidationError):
        Window(days=frozenset())


@given(
    days=st.sets(st.sampled_from(Weekday), min_size=1),
    begins=st.times(),
    ends=st.times(),
    at=st.floats(1.7e9, 2.0e9),
    zone=st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Etc/UTC"]),
)
def test_it_opens_when_it_says(days: set[Weekday], begins: time, ends: time, at: float, zone: str) -> None:
    window, where = Window(days=frozenset(days), begins=begins, ends=ends), ZoneInfo(zone)
    opens = opens_at(window, at, where)
    assert opens >= at
    assert is_open(window, opens, where)
    assert opens == at or not is_open(window, at, where)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://updates.example.com", "updates.example.com", 443),
        ("http://10.0.0.5:8000/cellule/", "10.0.0.5", 8000),
    ],
)
def test_a_channel_opens_one_way_outward(url: str, host: str, port: int) -> None:
    choice = UpdateChoice(channel_url=url)
    assert choice.channel_url and choice.channel_url.endswith("/")
    assert [(each.host, each.port) for each in outbound_of(choice)] == [(host, port)]


def test_without_a_channel_nothing_goes_outward() -> None:
    assert outbound_of(UpdateChoice()) == ()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "https://",
        "https://me:secret@x/",
        "https://x/?token=1",
        "https://x/#y",
        "https://x y/",
        "file:///etc",
    ],
)
def test_what_is_no_channel_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        UpdateChoice(channel_url=url)
