"""The chain of hashes through the audit trail: shows whether a line was changed, put in or taken out later.

hash of a line = SHA-256(hash of the line before it, the line's own fields). The hash of the newest line
therefore stands for the whole trail. It is also kept in the other database and in the system's journal,
which the service user can't rewrite; so a trail that was rewritten as a whole no longer fits what was noted.

An older version adds lines without a hash; they are chained by the next line of a version that knows how.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from appliance.clock import now
from appliance.storage import Choice, read_choice, transaction, write_choice

YEAR_SECONDS = 365.25 * 24 * 3600
_FIELDS = "id, at, event, actor, address, subject, detail"
_BEGINNING = "start"
"""The mark that says after which line the trail begins, once old lines were forgotten."""


class AuditChoice(Choice):
    """How long lines are kept."""

    years_kept: int = 3


class AuditAnchor(Choice):
    """The newest line as it was noted last, in the other database."""

    line_id: int = 0
    hash: str = ""
    noted_at: float = 0.0


class ChainState(StrEnum):
    """WHOLE; BROKEN at a line; SHORTENED when the end that was noted is gone or another one."""

    WHOLE = "whole"
    BROKEN = "broken"
    SHORTENED = "shortened"


@dataclass(frozen=True)
class ChainReport:
    """What verifying found. `line_id` is the first line that doesn't fit; `head` the newest line's hash."""

    state: ChainState
    lines: int
    head: str
    line_id: int | None = None


def seal(activity: Database) -> None:
    """Chains every line that has no hash yet. For callers in a write transaction."""
    last = activity.execute(
        "SELECT id, hash FROM audit WHERE hash IS NOT NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    after, previous = last or _beginning(activity)
    rows = activity.execute(f"SELECT {_FIELDS} FROM audit WHERE id > ? ORDER BY id", [after]).fetchall()  # noqa: S608
    for row in rows:
        previous = _hash(previous, row)
        activity.execute("UPDATE audit SET hash = ? WHERE id = ?", [previous, row[0]])


def verify_chain(activity: Database, anchor: AuditAnchor) -> ChainReport:
    """Recomputes every hash and compares with what was noted. Lines without a hash at the end are fine."""
    _, previous = _beginning(activity)
    lines, anchored = 0, anchor.line_id <= _beginning(activity)[0]
    for *row, kept in activity.execute(f"SELECT {_FIELDS}, hash FROM audit ORDER BY id"):  # noqa: S608
        if kept is None:
            break
        previous = _hash(previous, tuple(row))
        lines += 1
        if kept != previous:
            return ChainReport(ChainState.BROKEN, lines, previous, row[0])
        if row[0] == anchor.line_id:
            anchored = kept == anchor.hash
    state = ChainState.WHOLE if anchored else ChainState.SHORTENED
    return ChainReport(state, lines, previous, None if anchored else anchor.line_id)


def note_anchor(db: Database, activity: Database) -> ChainReport:
    """Verifies, and notes the newest line in cellule.db if all is whole. `db` is cellule.db."""
    with transaction(activity):
        seal(activity)
    report = verify_chain(activity, read_choice(db, AuditAnchor))
    newest = activity.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    if report.state is ChainState.WHOLE and newest and newest[1] != read_choice(db, AuditAnchor).hash:
        anchor = AuditAnchor(line_id=newest[0], hash=newest[1], noted_at=now())
        write_choice(db, anchor, chosen_by=None)
    return report


def forget_old_lines(activity: Database, years_kept: int) -> int:
    """Takes out what is older than that, from the beginning on; returns how many lines went."""
    before = now() - years_kept * YEAR_SECONDS
    with transaction(activity):
        seal(activity)
        # up to the first line that is young enough, for the clock may once have been wrong; never the newest
        kept = activity.execute(
            "SELECT coalesce((SELECT min(id) FROM audit WHERE at >= ?), max(id)) FROM audit", [before]
        ).fetchone()[0]
        last = activity.execute(
            "SELECT id, hash FROM audit WHERE id < ? ORDER BY id DESC LIMIT 1", [kept]
        ).fetchone()
        if last is None:
            return 0
        activity.execute(
            "INSERT OR REPLACE INTO audit_marks (name, line_id, hash) VALUES (?, ?, ?)", [_BEGINNING, *last]
        )
        gone = activity.execute("DELETE FROM audit WHERE id <= ?", [last[0]]).rowcount
    return int(gone)


def _beginning(activity: Database) -> tuple[int, str]:
    """After which line the trail begins, and that line's hash."""
    row = activity.execute("SELECT line_id, hash FROM audit_marks WHERE name = ?", [_BEGINNING]).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, "")


def _hash(previous: str, row: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps([previous, *row]).encode()).hexdigest()
