"""The checks of sticks and uploaded files that admins asked for, and how far each is: in activity.db.

One at a time; what is recorded survives a closed tab and a restart of the core, which then begins the check
anew.
"""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlite_utils import Database

from appliance.errors import Refused
from appliance.settings import Settings
from appliance.storage import transaction
from appliance.updating.archive import LARGEST_ARCHIVE_BYTES
from appliance.updating.release import Origin
from appliance.updating.this_box import updates_dir

_SPARE_BYTES = 256 * 1024**2
_REPORT_STEP_BYTES = 16 * 1024**2


class NoRoom(Refused):
    """The data partition is too full."""

    code = "no_room"
    http_status = 507


class CheckUnderWay(Refused):
    """A stick or file is being checked."""

    code = "check_under_way"
    http_status = 409


class CheckState(StrEnum):
    """Of a look at a stick or file."""

    WAITING = "waiting"
    CHECKING = "checking"
    GOOD = "good"
    REFUSED = "refused"

    @property
    def is_over(self) -> bool:
        return self in {CheckState.GOOD, CheckState.REFUSED}


@dataclass(frozen=True)
class Check:
    """`done_bytes` of `size_bytes` are read; both 0 before it is known. `code`, `sentence`: why it was
    refused.
    """

    id: int
    origin: Origin
    path: str
    name: str
    state: CheckState
    size_bytes: int
    done_bytes: int
    asked_by: str | None
    asked_at: float
    ended_at: float | None
    code: str
    sentence: str


def incoming_dir(settings: Settings) -> Path:
    """Where an upload is written while it comes."""
    folder = updates_dir(settings) / "incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def check_room(settings: Settings, size_bytes: int, *, copies: int = 2) -> None:
    """Whether so many copies of a file fit: the upload, and what is unpacked of it. Raises NoRoom."""
    if size_bytes > LARGEST_ARCHIVE_BYTES:
        raise NoRoom("The file is larger than any update file.")
    if copies * size_bytes + _SPARE_BYTES > shutil.disk_usage(incoming_dir(settings)).free:
        raise NoRoom(
            "There is not enough room for this file.",
            next_step="The box needs twice its size, and 256 MB to spare.",
        )


def ask_check(activity: Database, origin: Origin, *, path: str, name: str, by: str | None, at: float) -> None:
    """The core begins it within seconds. Raises CheckUnderWay."""
    with transaction(activity):
        newest = newest_check(activity)
        if newest is not None and not newest.state.is_over:
            raise CheckUnderWay("A stick or file is being checked.", next_step="Wait until that has ended.")
        activity.execute(
            """INSERT INTO offline_checks (origin, path, name, state, asked_by, asked_at)
            VALUES (?, ?, ?, ?, ?, ?)""",
            [origin.value, path, name[:200], CheckState.WAITING.value, by, at],
        )


def newest_check(activity: Database) -> Check | None:
    """None before the first."""
    row = activity.execute(
        """SELECT id, origin, path, name, state, size_bytes, done_bytes, asked_by, asked_at, ended_at, code,
        sentence FROM offline_checks ORDER BY id DESC LIMIT 1"""
    ).fetchone()
    return Check(row[0], Origin(row[1]), row[2], row[3], CheckState(row[4]), *row[5:]) if row else None


def begin_check(activity: Database, check: Check) -> "Meter":
    """From the start, also when an earlier attempt was cut off."""
    activity.execute(
        "UPDATE offline_checks SET state = ?, done_bytes = 0 WHERE id = ?",
        [CheckState.CHECKING.value, check.id],
    )
    return Meter(activity, check)


def end_check(activity: Database, check: Check, *, at: float, code: str = "", sentence: str = "") -> None:
    """Good without a `code`, else refused."""
    state = CheckState.REFUSED if code else CheckState.GOOD
    activity.execute(
        "UPDATE offline_checks SET state = ?, ended_at = ?, code = ?, sentence = ? WHERE id = ?",
        [state.value, at, code, sentence, check.id],
    )


class Meter:
    """Keeps how many bytes of a check are done."""

    def __init__(self, activity: Database, check: Check) -> None:
        self._activity, self._check, self._done, self._told = activity, check, 0, 0

    def begin(self, size_bytes: int) -> None:
        """So much there is to do."""
        self._activity.execute(
            "UPDATE offline_checks SET size_bytes = ? WHERE id = ?", [size_bytes, self._check.id]
        )

    def add(self, piece_bytes: int) -> None:
        """One more piece is done; told now and then, not each time."""
        self._done += piece_bytes
        if self._done - self._told >= _REPORT_STEP_BYTES:
            self._told = self._done
            self._activity.execute(
                "UPDATE offline_checks SET done_bytes = ? WHERE id = ?", [self._done, self._check.id]
            )
