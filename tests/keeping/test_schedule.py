"""What is due, told from a history alone: nights, failures, wishes, drills."""

from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from appliance.keeping.history import Run, Step, Work
from appliance.keeping.schedule import Done, backup_is_old, drill_is_bad, last_night, next_work
from appliance.keeping.targets import BackupChoice, KeepingRequests, NfsTarget

HOUR = 3600.0
DAY = 24 * HOUR
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC).timestamp()
CHOICE = BackupChoice(
    target=NfsTarget(host="nas", export="/export"), nightly_at="02:30", chosen_at=MIDNIGHT - 30 * DAY
)
NOTHING = {work: Done() for work in Work}


def run(work: Work, at: float, *, code: str = "") -> Run:
    return Run(1, work, at, at + 60, Step.STORE, 1.0, code, "", "", 0, 0)


def done(last: Run, *, good: Run | None = None, failures: int = 0) -> Done:
    return Done(last, last if not last.code else good, failures)


def history(backup: Done | None = None, drill: Done | None = None) -> Mapping[Work, Done]:
    good_drill = Done(run(Work.DRILL, MIDNIGHT - DAY), run(Work.DRILL, MIDNIGHT - DAY))
    return {**NOTHING, Work.BACKUP: backup or Done(), Work.DRILL: drill or good_drill}


def due(past: Mapping[Work, Done], now: float, requests: KeepingRequests | None = None) -> Work | None:
    return next_work(CHOICE, requests or KeepingRequests(), past, now=now, zone=UTC)


def test_nothing_is_due_without_a_target_whatever_was_wished() -> None:
    wishes = KeepingRequests(backup_at=MIDNIGHT)
    assert next_work(BackupChoice(), wishes, NOTHING, now=MIDNIGHT) is None


def test_the_first_backup_is_made_at_once_and_its_drill_follows() -> None:
    assert due(NOTHING, MIDNIGHT) is Work.BACKUP
    backed_up = history(done(run(Work.BACKUP, MIDNIGHT)), Done())
    assert due(backed_up, MIDNIGHT + 300) is Work.DRILL


def test_one_backup_a_night_at_its_time() -> None:
    past = history(done(run(Work.BACKUP, MIDNIGHT - 21.5 * HOUR)))
    assert due(past, MIDNIGHT + 2.4 * HOUR) is None
    assert due(past, MIDNIGHT + 2.5 * HOUR) is Work.BACKUP
    past = history(done(run(Work.BACKUP, MIDNIGHT + 2.5 * HOUR)))
    assert due(past, MIDNIGHT + 26.4 * HOUR) is None
    assert due(past, MIDNIGHT + 26.5 * HOUR) is Work.BACKUP


def test_missed_nights_are_made_up_once() -> None:
    past = history(done(run(Work.BACKUP, MIDNIGHT - 5 * DAY)))
    assert due(past, MIDNIGHT + 15 * HOUR) is Work.BACKUP
    past = history(done(run(Work.BACKUP, MIDNIGHT + 15 * HOUR)))
    assert due(past, MIDNIGHT + 16 * HOUR) is None


def test_a_failure_is_tried_again_after_one_hour_then_two_then_next_night() -> None:
    good = run(Work.BACKUP, MIDNIGHT - DAY)
    began = MIDNIGHT + 3 * HOUR
    for failures, again in ((1, HOUR), (2, 2 * HOUR)):
        past = history(done(run(Work.BACKUP, began, code="x"), good=good, failures=failures))
        assert due(past, began + again - 1) is None
        assert due(past, began + again) is Work.BACKUP
    past = history(done(run(Work.BACKUP, began, code="x"), good=good, failures=3))
    assert due(past, began + 20 * HOUR) is None
    assert due(past, MIDNIGHT + 26.5 * HOUR) is Work.BACKUP


def test_a_new_target_gets_its_backup_now() -> None:
    past = history(done(run(Work.BACKUP, MIDNIGHT)))
    moved = CHOICE.model_copy(update={"chosen_at": MIDNIGHT + 60})
    assert next_work(moved, KeepingRequests(), past, now=MIDNIGHT + 61, zone=UTC) is Work.BACKUP


def test_wishes_are_granted_once_tests_first() -> None:
    past = history(done(run(Work.BACKUP, MIDNIGHT)))
    wishes = KeepingRequests(
        test_at=MIDNIGHT + 5, backup_at=MIDNIGHT + 5, check_at=MIDNIGHT + 5, check_snapshot="0123abcd"
    )
    order = []
    while (work := due(past, MIDNIGHT + 10, wishes)) is not None:
        order.append(work)
        past = {**past, work: done(run(work, MIDNIGHT + 10))}
    assert order == [Work.TEST, Work.CHECK, Work.BACKUP]


def test_a_drill_each_week_and_a_failed_one_again_the_next_day() -> None:
    backup = done(run(Work.BACKUP, MIDNIGHT))
    drilled = MIDNIGHT - 6 * DAY
    assert due(history(backup, done(run(Work.DRILL, drilled))), MIDNIGHT + HOUR) is None
    assert due(history(backup, done(run(Work.DRILL, drilled - DAY))), MIDNIGHT + HOUR) is Work.DRILL
    failed = done(run(Work.DRILL, MIDNIGHT - DAY, code="x"), failures=1)
    assert due(history(backup, failed), MIDNIGHT - 1) is None
    assert due(history(backup, failed), MIDNIGHT) is Work.DRILL


def test_the_night_is_that_of_the_box_also_when_the_clocks_change() -> None:
    paris = ZoneInfo("Europe/Paris")
    # 29 March 2026: 02:00 CET becomes 03:00 CEST
    noon = datetime(2026, 3, 29, 12, tzinfo=paris).timestamp()
    night = datetime.fromtimestamp(last_night("02:30", noon, paris), paris)
    assert (night.month, night.day) == (3, 29)
    before = datetime(2026, 3, 29, 1, tzinfo=paris).timestamp()
    assert datetime.fromtimestamp(last_night("02:30", before, paris), paris).day == 28
    assert last_night("02:30", noon, paris) <= noon


def test_what_turns_red() -> None:
    good = run(Work.BACKUP, MIDNIGHT)
    assert not backup_is_old(done(good), CHOICE, MIDNIGHT + 2 * DAY)
    assert backup_is_old(done(good), CHOICE, MIDNIGHT + 2 * DAY + 1)
    assert backup_is_old(Done(), CHOICE, MIDNIGHT)
    assert not backup_is_old(Done(), BackupChoice(), MIDNIGHT)
    drill = run(Work.DRILL, MIDNIGHT)
    assert not drill_is_bad(done(drill), CHOICE, MIDNIGHT + 10 * DAY)
    assert drill_is_bad(done(drill), CHOICE, MIDNIGHT + 10 * DAY + 1)
    assert drill_is_bad(done(run(Work.DRILL, MIDNIGHT, code="x"), good=drill), CHOICE, MIDNIGHT + 60)
