"""What keeping did and does now: one line per run in activity.db, for pages to follow across restarts.

A line without an end belongs to the run that holds the keeping lock; found without one, it was cut off.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.errors import Refusal

KEPT_RUNS_SECONDS = 365 * 24 * 3600.0


class Work(StrEnum):
    """What the core does at a backup target."""

    TEST = "test"
    BACKUP = "backup"
    DRILL = "drill"
    CHECK = "check"
    """unpack a backup and check it, for a restore to be decided"""


class Step(StrEnum):
    """What a run is doing."""

    CONNECT = "connect"
    SNAPSHOT = "snapshot"
    STORE = "store"
    PRUNE = "prune"
    UNPACK = "unpack"
    PROVE = "prove"


@dataclass(frozen=True)
class Run:
    """One run. Times are epoch seconds, `share` that of the step, 0 to 1; `code` is "" unless it failed."""

    id: int
    work: Work
    started_at: float
    ended_at: float | None
    step: Step
    share: float
    code: str
    trouble: str
    detail: str
    size_bytes: int
    added_bytes: int

    @property
    def succeeded(self) -> bool:
        return self.ended_at is not None and not self.code


class Recorder:
    """Writes the line of one run, which ends as the body of its `with` did; a refusal is not raised on."""

    def __init__(self, activity: Database, work: Work, clock: Clock = now) -> None:
        self._activity = activity
        self._clock = clock
        self.work = work
        self.refusal: Refusal | None = None

    def __enter__(self) -> "Recorder":
        end_cut_off_runs(self._activity, self._clock())
        written = self._activity.execute(
            "INSERT INTO keeping_runs (work, started_at, step) VALUES (?, ?, ?)",
            [self.work.value, self._clock(), Step.CONNECT.value],
        )
        self._id = written.lastrowid
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        code, trouble = ("", "") if error is None else ("broken", f"{type(error).__name__}: {error}"[:500])
        if isinstance(error, Refusal):
            self.refusal, code, trouble = error, error.code, str(error)
        self._set("ended_at = ?, code = ?, trouble = ?", self._clock(), code, trouble)
        return isinstance(error, Refusal)

    def step(self, step: Step) -> None:
        self._set("step = ?, share = 0", step.value)

    def share(self, share: float) -> None:
        self._set("share = ?", share)

    def result(self, *, detail: str = "", size_bytes: int = 0, added_bytes: int = 0) -> None:
        self._set("detail = ?, size_bytes = ?, added_bytes = ?", detail, size_bytes, added_bytes)

    def _set(self, columns: str, *values: object) -> None:
        self._activity.execute(f"UPDATE keeping_runs SET {columns} WHERE id = ?", [*values, self._id])  # noqa: S608


def end_cut_off_runs(activity: Database, at: float) -> None:
    """Called with the keeping lock held: what has no end now, never comes to one."""
    activity.execute(
        "UPDATE keeping_runs SET ended_at = ?, code = 'interrupted',"
        " trouble = 'The box was stopped meanwhile.' WHERE ended_at IS NULL",
        [at],
    )
    activity.execute("DELETE FROM keeping_runs WHERE started_at < ?", [at - KEPT_RUNS_SECONDS])


def last_run(activity: Database, work: Work, *, succeeded: bool = False) -> Run | None:
    """The newest run of a kind; the newest that ended well."""
    condition = "AND ended_at IS NOT NULL AND code = ''" if succeeded else ""
    rows = _runs(activity, f"work = ? {condition} ORDER BY id DESC LIMIT 1", work.value)
    return rows[0] if rows else None


def running(activity: Database) -> Run | None:
    """The run that is under way."""
    rows = _runs(activity, "ended_at IS NULL ORDER BY id DESC LIMIT 1")
    return rows[0] if rows else None


def failures_since_success(activity: Database, work: Work) -> int:
    """How many runs of a kind failed since one ended well."""
    last = last_run(activity, work, succeeded=True)
    counted = activity.execute(
        "SELECT count(*) FROM keeping_runs WHERE work = ? AND id > ? AND ended_at IS NOT NULL",
        [work.value, last.id if last else 0],
    )
    return int(counted.fetchone()[0])


def _runs(activity: Database, condition: str, *values: object) -> list[Run]:
    rows = activity.execute(
        "SELECT id, work, started_at, ended_at, step, share, code, trouble, detail, size_bytes, added_bytes"  # noqa: S608
        f" FROM keeping_runs WHERE {condition}",
        values,
    )
    return [Run(row[0], Work(row[1]), row[2], row[3], Step(row[4]), *row[5:]) for row in rows]
