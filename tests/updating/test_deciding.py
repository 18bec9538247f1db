"""Whether a release may be installed, and whether the box does it by itself; always with the reasons."""

from dataclasses import replace
from datetime import time
from zoneinfo import ZoneInfo

import pytest

from appliance.host import InstallState, InstallStatus, Slot, SlotState
from appliance.updating.choice import UpdateChoice
from appliance.updating.deciding import Facts, Failures, Why, choose, judge, may_restart
from appliance.updating.found import Found
from appliance.updating.installs import Install, Progress, Stage, seconds_left
from appliance.updating.moving import MOST_RESTARTS, Act, Box, next_move
from appliance.updating.release import Origin, Release, WaveStep
from appliance.updating.states import release_states
from appliance.updating.window import Window
from tests.updating.test_rules import a_release

AT = 1_790_000_000.0
ALWAYS = Window(begins=time(0), ends=time(0))
FACTS = Facts(
    at=AT,
    running="1.0.0",
    compatible="test",
    waiting="",
    is_under_way=False,
    is_on_trial=False,
    refused=frozenset(),
    failures={},
    choice=UpdateChoice(channel_url="https://x/", window=ALWAYS),
    zone=ZoneInfo("UTC"),
    box_id="box",
)


def found(version: str = "1.1.0", origin: Origin = Origin.CHANNEL, **changes: object) -> Found:
    release = Release.model_validate({**a_release(version).model_dump(), **changes})
    return Found(release, origin, f"/somewhere/{release.bundle}", AT - 100)


def whys(one: Found, facts: Facts) -> set[Why]:
    judgement = judge(one, facts)
    return {reason.why for reason in (*judgement.blocking, *judgement.waiting)}


def test_a_newer_release_in_its_wave_and_window_installs_itself() -> None:
    assert judge(found(), FACTS).installs_itself
    assert choose([found("1.1.0"), found("1.2.0"), found("0.9.0")], FACTS) == found("1.2.0")


CLOSED = Window(begins=time(0), ends=time(0, 1))
BLOCKED = [
    (found("1.0.0"), FACTS, Why.NOT_NEWER),
    (found("0.9.9"), FACTS, Why.NOT_NEWER),
    (found("1.0.0~rc1"), FACTS, Why.NOT_NEWER),
    (found(compatible="other"), FACTS, Why.OTHER_KIND),
    (found(), replace(FACTS, refused=frozenset({"1.1.0"})), Why.ROLLED_BACK),
    (found(min_version="1.0.5"), FACTS, Why.NEEDS_ANOTHER_FIRST),
    (found(), replace(FACTS, waiting="1.1.0"), Why.INSTALLED),
    (found(), replace(FACTS, waiting="1.2.0"), Why.INSTALLED),
    (found(), replace(FACTS, choice=UpdateChoice(hold=True, window=ALWAYS)), Why.HELD),
    (found(), replace(FACTS, is_under_way=True), Why.UNDER_WAY),
    (found(), replace(FACTS, is_on_trial=True), Why.ON_TRIAL),
]
WAITING = [
    (found(origin=Origin.STICK), FACTS, Why.SOMEBODY_MUST_ASK),
    (found(origin=Origin.UPLOAD), FACTS, Why.SOMEBODY_MUST_ASK),
    (found(), replace(FACTS, choice=UpdateChoice(automatic=False, window=ALWAYS)), Why.NOT_AUTOMATIC),
    (found(), replace(FACTS, choice=UpdateChoice(window=CLOSED)), Why.WINDOW),
    (found(published_at=int(AT), waves=[WaveStep(percent=100, after_hours=1)]), FACTS, Why.WAVE),
    (found(), replace(FACTS, failures={"1.1.0": Failures(1, AT - 60)}), Why.FAILED_BEFORE),
]


@pytest.mark.parametrize(
    ("one", "facts", "why"), BLOCKED, ids=lambda v: v.value if isinstance(v, Why) else ""
)
def test_what_nobody_can_overrule(one: Found, facts: Facts, why: Why) -> None:
    assert not judge(one, facts).may_be_installed
    assert whys(one, facts) == {why}
    assert choose([one], facts) is None


@pytest.mark.parametrize(
    ("one", "facts", "why"), WAITING, ids=lambda v: v.value if isinstance(v, Why) else ""
)
def test_what_an_admin_overrules(one: Found, facts: Facts, why: Why) -> None:
    assert judge(one, facts).may_be_installed
    assert whys(one, facts) == {why}
    assert choose([one], facts) is None


def test_reasons_say_when_they_end() -> None:
    facts = replace(
        FACTS, choice=UpdateChoice(window=Window(begins=time(2), ends=time(3))), at=AT // 86400 * 86400
    )
    late = found(published_at=int(facts.at), waves=[WaveStep(percent=100, after_hours=48)])
    ends = {reason.why: reason.at for reason in judge(late, facts).waiting}
    assert ends == {Why.WAVE: facts.at + 48 * 3600, Why.WINDOW: facts.at + 2 * 3600}


def test_after_failures_the_box_waits_longer_each_time_a_day_at_most() -> None:
    waits = []
    for count in (1, 2, 3, 4, 5, 6, 20):
        facts = replace(FACTS, failures={"1.1.0": Failures(count, AT)})
        [reason] = judge(found(), facts).waiting
        assert reason.at
        waits.append((reason.at - AT) / 3600)
    assert waits == [1, 2, 4, 8, 16, 24, 24]


def test_a_restart_needs_the_window_or_a_word_and_no_hold() -> None:
    by_admin = an_install(Stage.INSTALLED)
    by_itself = replace(by_admin, ordered_by=None)
    at_once = replace(by_admin, restart_now=True)
    expected = {
        UpdateChoice(window=ALWAYS): (True, True, True),
        UpdateChoice(window=ALWAYS, automatic=False): (False, True, True),
        UpdateChoice(window=CLOSED): (False, False, True),
        UpdateChoice(window=ALWAYS, hold=True): (False, False, False),
    }
    for choice, restarts in expected.items():
        facts = replace(FACTS, choice=choice)
        assert tuple(may_restart(each, facts) for each in (by_itself, by_admin, at_once)) == restarts


# --- what comes next ---------------------------------------------------------------------------------


def slot(name: str, version: str, state: SlotState = SlotState.GOOD, *, booted: bool = False) -> Slot:
    return Slot(name=name, version=version, state=state, tries_left=None, booted=booted)


OLD = slot("a", "1.0.0", booted=True)
BEFORE = Box("1.0.0", (OLD, slot("b", "0.9.0")), booted_at=AT - 9000)
WRITTEN = Box("1.0.0", (OLD, slot("b", "1.1.0", SlotState.TRYING)), booted_at=AT - 9000)


def an_install(
    stage: Stage, *, restart_now: bool = False, restarts: int = 0, stage_at: float = AT - 10
) -> Install:
    return Install(
        1, "1.1.0", Origin.CHANNEL, "http://x/", "0" * 64, 10, stage, stage_at, restart_now, restarts,
        "ana", AT - 100, AT - 20, "", "",
    )  # fmt: skip


def move(
    install: Install, status: InstallStatus, box: Box, *, refused: bool = False, restart: bool = False
) -> tuple[Stage | None, Act, str]:
    found = next_move(install, status, box, is_refused=refused, may_restart=restart, at=AT)
    return found.to, found.act, found.code


IDLE = InstallStatus()


def status(state: InstallState, percent: int = 0, version: str = "1.1.0", error: str = "") -> InstallStatus:
    return InstallStatus(state=state, percent=percent, version=version, error=error)


def test_an_order_begins_once_nothing_else_is_installed() -> None:
    ordered = an_install(Stage.ORDERED)
    assert move(ordered, IDLE, BEFORE) == (Stage.INSTALLING, Act.INSTALL, "")
    assert move(ordered, status(InstallState.INSTALLING, 5, "0.9.0"), BEFORE) == (None, Act.NOTHING, "")
    assert move(ordered, status(InstallState.FAILED, version="0.9.0"), BEFORE)[1] is Act.INSTALL


def test_an_install_is_done_when_the_installer_says_so() -> None:
    installing = an_install(Stage.INSTALLING)
    assert move(installing, status(InstallState.INSTALLING, 100), BEFORE) == (None, Act.NOTHING, ""), (
        "not at 100 %"
    )
    assert move(installing, status(InstallState.INSTALLED), WRITTEN)[0] is Stage.INSTALLED
    assert move(installing, status(InstallState.FAILED), BEFORE) == (
        Stage.FAILED,
        Act.NOTHING,
        "install_failed",
    )


def test_an_install_that_a_power_cut_ended_has_failed_or_is_seen_in_its_slot() -> None:
    installing = an_install(Stage.INSTALLING)
    cut = replace(BEFORE, booted_at=AT - 5)
    assert move(installing, IDLE, cut) == (Stage.FAILED, Act.NOTHING, "install_interrupted")
    assert move(installing, IDLE, replace(WRITTEN, booted_at=AT - 5))[0] is Stage.INSTALLED
    assert move(installing, IDLE, BEFORE) == (None, Act.NOTHING, ""), "the installer has only just been asked"


def test_it_restarts_when_it_may() -> None:
    assert move(an_install(Stage.INSTALLED), IDLE, WRITTEN) == (None, Act.NOTHING, "")
    assert move(an_install(Stage.INSTALLED), IDLE, WRITTEN, restart=True)[:2] == (
        Stage.RESTARTING,
        Act.RESTART,
    )


def test_after_the_restart_the_verdict_decides() -> None:
    restarting = an_install(Stage.RESTARTING)
    assert move(restarting, IDLE, WRITTEN)[0] is None, "not restarted yet"
    trying = Box("1.1.0", (slot("a", "1.0.0"), slot("b", "1.1.0", SlotState.TRYING, booted=True)), AT - 1)
    assert move(restarting, IDLE, trying)[0] is Stage.TRYING
    assert move(an_install(Stage.TRYING), IDLE, trying)[0] is None
    good = Box("1.1.0", (slot("a", "1.0.0"), slot("b", "1.1.0", booted=True)), AT - 1)
    assert move(an_install(Stage.TRYING), IDLE, good)[0] is Stage.HELD
    bad = Box("1.0.0", (OLD, slot("b", "1.1.0", SlotState.BAD)), AT - 1)
    for stage in (Stage.RESTARTING, Stage.TRYING):
        assert move(an_install(stage), IDLE, bad)[0] is Stage.ROLLED_BACK
        assert move(an_install(stage), IDLE, WRITTEN, refused=True)[0] is Stage.ROLLED_BACK


def test_a_release_that_was_good_and_no_longer_starts_is_offered_again_and_written_anew() -> None:
    worn = Box("1.0.0", (OLD, slot("b", "1.1.0", SlotState.NO_LONGER_STARTS)), AT - 1)
    assert move(an_install(Stage.TRYING), IDLE, worn)[0] is Stage.HELD, "only nobody had looked yet"
    held = [an_install(Stage.HELD)]
    states = release_states([found("1.1.0")], held, worn, FACTS)
    assert [each.judgement.installs_itself for each in states.found] == [True]
    assert states.fallback == "", "it is no way back"
    again = an_install(Stage.INSTALLING)
    assert move(again, status(InstallState.INSTALLING), worn)[0] is None, "the old copy is not the new one"
    assert move(again, status(InstallState.INSTALLED), WRITTEN)[0] is Stage.INSTALLED


def test_a_restart_that_ends_in_the_old_release_is_repeated_once() -> None:
    again = replace(WRITTEN, booted_at=AT - 1)
    assert move(an_install(Stage.RESTARTING, restarts=1), IDLE, again)[0] is Stage.INSTALLED
    worn = an_install(Stage.INSTALLED, restarts=MOST_RESTARTS)
    assert move(worn, IDLE, again) == (Stage.FAILED, Act.NOTHING, "did_not_start")


def test_what_another_install_wrote_over_is_replaced() -> None:
    other = Box("1.0.0", (OLD, slot("b", "1.2.0", SlotState.TRYING)), AT - 9000)
    assert move(an_install(Stage.INSTALLED), IDLE, other)[0] is Stage.REPLACED


def test_time_left_follows_the_speed_so_far() -> None:
    install = replace(an_install(Stage.INSTALLING), started_at=AT)
    assert seconds_left(install, None) is None
    assert seconds_left(install, Progress(4, "", AT + 10)) is None
    assert seconds_left(install, Progress(25, "", AT + 10)) == 30
    assert seconds_left(install, Progress(100, "", AT + 10)) == 0


def test_the_three_states_side_by_side() -> None:
    offers = [
        found("1.1.0"),
        found("1.2.0"),
        found("1.2.0", Origin.STICK),
        found("0.9.0"),
        found("1.3.0", compatible="other"),
    ]
    facts = replace(FACTS, waiting="1.1.0")
    states = release_states(offers, [an_install(Stage.INSTALLED)], WRITTEN, facts)
    assert states.running.version == "1.0.0" and not states.running.is_tried
    assert states.installed and states.installed.version == "1.1.0"
    assert [(each.found.release.version, each.found.origin) for each in states.found] == [
        ("1.2.0", Origin.STICK)
    ], "1.1.0 is installed"
    assert states.fallback == ""
    assert release_states([], [], BEFORE, FACTS).fallback == "0.9.0"
