"""Do both database files open, hold together and have this version's schema? And whose fault is it if not.

A damaged file is never written, moved or made anew here: what can be saved of it is for a person to decide.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from appliance.boot.failure import CheckFailed, Fault
from appliance.storage import DATABASE_FILES, SchemaTooNew, open_activity, open_cellule

QUICK_CHECK_SECONDS = 10.0
_STEPS_BETWEEN_LOOKS = 10_000


def check_storage(state_dir: Path) -> str:
    """Both files are whole and migrated. Raises CheckFailed, naming the file."""
    unfinished = [name for name in DATABASE_FILES if not _check_file(state_dir / name)]
    for name, opened in (("activity.db", open_activity), ("cellule.db", open_cellule)):
        try:
            opened(state_dir).close()
        except SchemaTooNew as error:
            raise CheckFailed(str(error), Fault.RELEASE, is_final=True) from error
        except sqlite3.Error as error:
            raise _failure(name, error) from error
    if unfinished:
        return f"Storage opens and is migrated; too large to check whole: {', '.join(unfinished)}."
    return "Storage opens, is whole and migrated."


def _check_file(path: Path) -> bool:
    """False when time ran out before the whole file was looked at."""
    if not path.exists():
        raise CheckFailed(f"{path.name} is not there: the preparation of this start did not end well.")
    give_up_at = time.monotonic() + QUICK_CHECK_SECONDS
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _STEPS_BETWEEN_LOOKS)
            problem = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            return False
        raise _failure(path.name, error) from error
    if problem != "ok":
        raise _damaged(path.name, problem)
    return True


def _failure(name: str, error: sqlite3.Error) -> CheckFailed:
    """Only what the other slot would meet as well is the data's fault (sqlite.org/rescode.html)."""
    match _code(error):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(name, str(error))
        case sqlite3.SQLITE_FULL:
            return CheckFailed(
                f"{name} can't be written: the data partition is full.",
                Fault.DATA,
                next_step="Make room on the data partition, then restart the box.",
            )
        case sqlite3.SQLITE_IOERR:
            return CheckFailed(
                f"{name} can't be used: {error}.",
                Fault.DATA,
                next_step="The disk may be failing: restore a backup on a new one.",
            )
        case _:
            return CheckFailed(f"{name} could not be opened by this version: {error}.", Fault.RELEASE)


def _damaged(name: str, why: str) -> CheckFailed:
    return CheckFailed(
        f"The file {name} is damaged ({why}). It was left as it is.",
        Fault.DATA,
        next_step="Restore a backup.",
        is_final=True,
    )


def _code(error: sqlite3.Error) -> int:
    """The primary result code: the low byte of the extended one; 0 when the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
