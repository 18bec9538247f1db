"""The audit trail: what is in it, who finds what, and that no line can be changed unseen."""

import csv
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlite_utils import Database

from appliance.people import (
    AuditAnchor,
    AuditEvent,
    AuditFilter,
    ChainState,
    audit,
    audit_actors,
    audit_chain,
    audit_csv,
    audit_lines,
    forget_old_lines,
    note_anchor,
    record_audit,
    verify_chain,
)
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice, transaction

DAY_SECONDS = 86400.0


@pytest.fixture
def activity(settings: Settings) -> Iterator[Database]:
    with open_activity(settings.state_dir) as opened:
        yield opened


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    with open_cellule(settings.state_dir) as opened:
        yield opened


def fill(activity: Database, lines: int = 5) -> None:
    for number in range(lines):
        record_audit(activity, AuditEvent.ADMIN_KEY_MADE, actor="ana", subject=f"key {number}")


def state(db: Database, activity: Database) -> ChainState:
    return verify_chain(activity, read_choice(db, AuditAnchor)).state


def test_every_event_is_source_subject_action_and_the_source_is_who_can_cause_it() -> None:
    for event in AuditEvent:
        source, subject, action = event.value.split(":")
        assert source in {"admin", "user", "visitor", "box", "vendor", "console"}
        assert subject and action
        assert event.name == "_".join((source, subject, action)).upper().replace("-", "_")


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit SET detail = 'nothing' WHERE id = 3",
        "UPDATE audit SET actor = 'bob' WHERE id = 1",
        "UPDATE audit SET at = at - 1 WHERE id = 5",
        "DELETE FROM audit WHERE id = 2",
        "UPDATE audit SET id = 99 WHERE id = 3",
        "INSERT INTO audit (id, at, event, hash) VALUES (0, 1.0, 'admin:key:made', 'x')",
        "UPDATE audit SET hash = (SELECT hash FROM audit WHERE id = 2) WHERE id = 3",
    ],
)
def test_a_line_that_was_changed_put_in_or_taken_out_breaks_the_chain(
    db: Database, activity: Database, tampering: str
) -> None:
    fill(activity)
    assert note_anchor(db, activity).state is ChainState.WHOLE
    activity.execute(tampering)
    assert note_anchor(db, activity).state is ChainState.BROKEN
    fill(activity, 1)
    assert state(db, activity) is ChainState.BROKEN, "it stays found"


@pytest.mark.parametrize(
    "tampering",
    ["DELETE FROM audit WHERE id > 3", "DELETE FROM audit", "UPDATE audit SET hash = NULL, detail = 'x'"],
)
def test_an_end_that_was_cut_off_or_rewritten_no_longer_fits_what_was_noted(
    db: Database, activity: Database, tampering: str
) -> None:
    fill(activity)
    note_anchor(db, activity)
    activity.execute(tampering)
    fill(activity, 4)
    assert note_anchor(db, activity).state is ChainState.SHORTENED
    assert note_anchor(db, activity).state is ChainState.SHORTENED, "the anchor does not follow a forgery"


def test_lines_of_an_older_version_are_chained_by_the_next_line(db: Database, activity: Database) -> None:
    fill(activity, 2)
    activity.execute("INSERT INTO audit (at, event) VALUES (1.5, 'admin:box:reset')")
    assert state(db, activity) is ChainState.WHOLE
    fill(activity, 1)
    report = verify_chain(activity, AuditAnchor())
    assert (report.state, report.lines) == (ChainState.WHOLE, 4)
    activity.execute("UPDATE audit SET at = 2.5 WHERE id = 3")
    assert verify_chain(activity, AuditAnchor()).line_id == 3


def test_old_lines_are_forgotten_and_the_rest_is_still_a_chain(
    db: Database, activity: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = time.time() - 4 * audit_chain.YEAR_SECONDS
    monkeypatch.setattr(audit, "now", lambda: old)
    fill(activity, 3)
    monkeypatch.undo()
    fill(activity, 2)
    note_anchor(db, activity)
    assert forget_old_lines(activity, 5) == 0
    assert forget_old_lines(activity, 3) == 3
    assert [line.id for line in audit_lines(activity)] == [5, 4]
    assert state(db, activity) is ChainState.WHOLE
    fill(activity, 1)
    assert note_anchor(db, activity).state is ChainState.WHOLE
    activity.execute("DELETE FROM audit WHERE id = 4")
    assert state(db, activity) is ChainState.BROKEN


def test_the_newest_line_is_never_forgotten(
    db: Database, activity: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "now", lambda: 1000.0)
    fill(activity, 3)
    assert forget_old_lines(activity, 1) == 2
    fill(activity, 1)
    assert [line.id for line in audit_lines(activity)] == [4, 3]
    assert state(db, activity) is ChainState.WHOLE


def test_many_writers_make_one_chain(settings: Settings, activity: Database, db: Database) -> None:
    def write(writer: int) -> None:
        with open_activity(settings.state_dir) as own:
            for number in range(20):
                record_audit(own, AuditEvent.USER_SESSION_OPENED, actor=f"user {writer}", detail=str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    report = verify_chain(activity, AuditAnchor())
    assert (report.state, report.lines) == (ChainState.WHOLE, 80)


def test_a_line_inside_of_a_callers_transaction_goes_with_it(activity: Database) -> None:
    with pytest.raises(KeyError), transaction(activity):
        record_audit(activity, AuditEvent.ADMIN_BOX_RESET)
        raise KeyError
    assert audit_lines(activity) == []


def test_lines_are_found_by_source_subject_actor_and_date(
    activity: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, (event, actor) in enumerate(
        [
            (AuditEvent.ADMIN_KEY_MADE, "ana"),
            (AuditEvent.ADMIN_SUPPORT_OPENED, "ana"),
            (AuditEvent.VENDOR_SUPPORT_COMMAND, "Vera at the vendor"),
            (AuditEvent.BOX_BOOT_ROLLED_BACK, None),
        ]
    ):
        monkeypatch.setattr(audit, "now", lambda day=day: day * DAY_SECONDS)
        record_audit(activity, event, actor=actor)

    def found(only: AuditFilter) -> list[int]:
        return [line.id for line in audit_lines(activity, only=only)]

    assert found(AuditFilter()) == [4, 3, 2, 1]
    assert found(AuditFilter(source="admin")) == [2, 1]
    assert found(AuditFilter(kind="support")) == [3, 2]
    assert found(AuditFilter(source="admin", kind="support")) == [2]
    assert found(AuditFilter(actor="ana")) == [2, 1]
    assert found(AuditFilter(since=DAY_SECONDS, until=3 * DAY_SECONDS)) == [3, 2]
    assert found(AuditFilter(source="*")) == [4, 3, 2, 1], "a wildcard of SQL's own changes no meaning"
    assert found(AuditFilter(source="admin' OR 1 --")) == []
    assert audit_actors(activity) == ["Vera at the vendor", "ana"]
    assert [line.id for line in audit_lines(activity, before_id=3, limit=1)] == [2]


def test_the_csv_holds_every_line_and_runs_no_formula(activity: Database) -> None:
    record_audit(activity, AuditEvent.VISITOR_SESSION_REFUSED, subject='=HYPERLINK("x")', detail='a "b",\nc')
    for _ in range(1200):
        activity.execute("INSERT INTO audit (at, event) VALUES (1e9, 'admin:key:made')")
    rows = list(csv.reader(io.StringIO("".join(audit_csv(activity, AuditFilter())))))
    assert rows[0] == ["id", "at", "event", "actor", "address", "subject", "detail"]
    assert len(rows) == 1 + 1201
    assert rows[1][1] == "2001-09-09T01:46:40+00:00"
    assert rows[-1][5:] == ['\'=HYPERLINK("x")', 'a "b",\nc']
