"""The verdict: in order, within its limits, and what follows from it."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.boot import verdict
from appliance.boot.breadcrumbs import Breadcrumb, Outcome
from appliance.boot.checks import CHECKS, MOST_SECONDS, Box, Check
from appliance.boot.failure import CheckFailed, Fault
from appliance.boot.places import places
from appliance.boot.verdict import Action, Verdict, judge, what_follows
from appliance.boot.word import Kind
from appliance.settings import Settings

UNIT = Path(__file__).parents[2] / "rootfs" / "usr" / "lib" / "systemd" / "system" / "cellule-verdict.service"


@pytest.fixture
def box(settings: Settings) -> Box:
    return Box(settings, places(settings))


def check(name: str, run: Callable[[Box], str], limit_seconds: float = 5.0) -> Check:
    return Check(name, "", run, limit_seconds, (f"{name}.service",))


def fine(_: Box) -> str:
    return "Fine."


def judged(box: Box, *checks: Check) -> tuple[Verdict, list[Breadcrumb]]:
    crumbs: list[Breadcrumb] = []

    def note(step: str, outcome: Outcome, sentence: str, log: str = "") -> Breadcrumb:
        crumbs.append(Breadcrumb(step=step, outcome=outcome, sentence=sentence, log=log))
        return crumbs[-1]

    return judge(checks, box, note, lambda units: f"log of {units}"), crumbs


def test_every_check_leaves_a_breadcrumb_in_order(box: Box) -> None:
    spoken, crumbs = judged(box, check("one", fine), check("two", fine))
    assert spoken.is_good
    assert [(crumb.step, crumb.outcome, crumb.log) for crumb in crumbs] == [
        ("one", Outcome.OK, ""),
        ("two", Outcome.OK, ""),
    ]


def test_the_first_failure_ends_it_with_the_log_around(box: Box) -> None:
    def broken(_: Box) -> str:
        raise CheckFailed("It is broken.", is_final=True)

    spoken, crumbs = judged(box, check("one", fine), check("two", broken), check("three", fine))
    assert (spoken.kind, spoken.check, spoken.sentence) == (Kind.BAD_RELEASE, "two", "It is broken.")
    assert [crumb.step for crumb in crumbs] == ["one", "two"]
    assert crumbs[-1].log == "log of ('two.service',)"


def test_a_part_that_needs_time_is_asked_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "ASK_AGAIN_SECONDS", 0.01)
    asked = []

    def slow(_: Box) -> str:
        asked.append(1)
        if len(asked) < 4:
            raise CheckFailed("Not yet.")
        return "Now."

    assert judged(box, check("slow", slow))[0].is_good
    assert len(asked) == 4


def test_time_runs_out_with_the_last_reason(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "ASK_AGAIN_SECONDS", 0.01)

    def never(_: Box) -> str:
        raise CheckFailed("Still nothing.")

    spoken, _ = judged(box, check("never", never, 0.1))
    assert spoken.sentence.startswith("Still nothing. (waited")


def test_a_check_that_hangs_is_left_behind(box: Box) -> None:
    let_go = threading.Event()

    def hangs(_: Box) -> str:
        let_go.wait(30)
        return "Too late."

    started = time.monotonic()
    spoken, _ = judged(box, check("hangs", hangs, 0.2))
    assert time.monotonic() - started < 5
    let_go.set()
    assert spoken.kind is Kind.BAD_RELEASE and "No word within 0 s" in spoken.sentence


def test_a_check_that_breaks_is_a_check_that_failed(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "ASK_AGAIN_SECONDS", 0.01)
    spoken, _ = judged(box, check("odd", lambda _: os.environ["MISSING"], 0.1))
    assert spoken.kind is Kind.BAD_RELEASE and "KeyError" in spoken.sentence


def test_bad_data_is_told_apart_and_keeps_its_next_step(box: Box) -> None:
    def damaged(_: Box) -> str:
        raise CheckFailed("Damaged.", Fault.DATA, next_step="Restore a backup.", is_final=True)

    spoken, _ = judged(box, check("storage", damaged))
    assert (spoken.kind, spoken.next_step) == (Kind.BAD_DATA, "Restore a backup.")


@pytest.mark.parametrize(
    ("kind", "is_on_trial", "action"),
    [
        (Kind.GOOD, True, Action.BLESS),
        (Kind.GOOD, False, Action.BLESS),
        (Kind.BAD_RELEASE, True, Action.RESTART),
        (Kind.BAD_RELEASE, False, Action.STAY_UP),
        (Kind.BAD_DATA, True, Action.STAY_UP),
        (Kind.BAD_DATA, False, Action.STAY_UP),
    ],
)
def test_what_follows(kind: Kind, is_on_trial: bool, action: Action) -> None:
    assert what_follows(kind, is_on_trial=is_on_trial) is action


def test_the_table_asks_for_all_that_makes_a_boot_good() -> None:
    assert [each.name for each in CHECKS] == [
        "data-partition",
        "storage",
        "broker",
        "pool",
        "webadmin",
        "front",
        "accelerator",
        "answer",
    ]
    assert all(each.proves and each.limit_seconds > 0 for each in CHECKS)


def test_systemd_waits_longer_than_the_verdict_takes() -> None:
    said = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line)
    assert "breadcrumb stopped" in said["ExecStop"]
    assert said["OnFailure"] == "cellule-boot-again.service"
    assert int(said["TimeoutStartSec"].removesuffix("s")) >= MOST_SECONDS + 20
