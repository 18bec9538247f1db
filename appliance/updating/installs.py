"""Every install that was ordered, and what became of it: the history in cellule.db, how far it is in
activity.db.

One at a time: who orders takes the only place that the table has for an unfinished install, in one
transaction; the second gets a clear answer. What is recorded survives a closed tab, a restart of the core
and one of the box.
"""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from appliance.errors import Refused
from appliance.storage import transaction
from appliance.updating.found import Found
from appliance.updating.release import Origin


class InstallUnderWay(Refused):
    """Another install is ordered or running."""

    code = "install_under_way"
    http_status = 409


class NothingToRestartInto(Refused):
    """No installed release waits for a restart."""

    code = "nothing_to_restart_into"
    http_status = 409


class Stage(StrEnum):
    """What became of an ordered install."""

    ORDERED = "ordered"
    INSTALLING = "installing"
    INSTALLED = "installed"
    RESTARTING = "restarting"
    TRYING = "trying"
    HELD = "held"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    REPLACED = "replaced"

    @property
    def is_under_way(self) -> bool:
        """Whether no other install may begin."""
        return self in {Stage.ORDERED, Stage.INSTALLING}

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self in {Stage.HELD, Stage.FAILED, Stage.ROLLED_BACK, Stage.REPLACED}


@dataclass(frozen=True)
class Install:
    """Times are epoch seconds. `ordered_by` is an account's name, None for the box itself.

    `restart_now`: restart when it is installed, without waiting for the window. `stage_at` is when it came to
    its stage, `started_at` when the installer began. `code` and `error` say why it ended badly.
    """

    id: int
    version: str
    origin: Origin
    source: str
    manifest_hash: str
    size_bytes: int
    stage: Stage
    stage_at: float
    restart_now: bool
    restarts: int
    ordered_by: str | None
    ordered_at: float
    started_at: float | None
    code: str
    error: str


@dataclass(frozen=True)
class Progress:
    """As the installer tells it: `percent` 0 to 100, `step` in its own words."""

    percent: int
    step: str
    at: float


_COLUMNS = """id, version, origin, source, manifest_hash, size_bytes, stage, stage_at, restart_now, restarts,
    ordered_by, ordered_at, started_at, code, error"""


def order_install(db: Database, found: Found, *, by: str | None, restart_now: bool, at: float) -> Install:
    """The core begins it within seconds. Raises InstallUnderWay."""
    release = found.release
    try:
        with transaction(db):
            number = db.execute(
                """INSERT INTO installs (version, origin, source, manifest_hash, size_bytes, stage, stage_at,
                restart_now, ordered_by, ordered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                [
                    release.version,
                    found.origin.value,
                    found.source,
                    release.manifest_hash,
                    release.size_bytes,
                    Stage.ORDERED.value,
                    at,
                    restart_now,
                    by,
                    at,
                ],
            ).lastrowid
    except sqlite3.IntegrityError as error:
        raise InstallUnderWay(
            "An install is under way already.", next_step="Wait until it has ended."
        ) from error
    return next(install for install in list_installs(db) if install.id == number)


def list_installs(db: Database, *, limit: int = 50) -> list[Install]:
    """The newest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM installs ORDER BY id DESC LIMIT ?", [limit])  # noqa: S608
    return [_install(row) for row in rows]


def unfinished_install(db: Database) -> Install | None:
    """The newest install if something is still to follow."""
    newest = next(iter(list_installs(db, limit=1)), None)
    return None if newest is None or newest.stage.is_over else newest


def move_install(
    db: Database, install: Install, to: Stage, *, at: float, code: str = "", error: str = ""
) -> bool:
    """Brings it to another stage; False when somebody else did so meanwhile.

    What was installed before and has not started yet is replaced by a newer one that begins.
    """
    with transaction(db):
        done = db.execute(
            """UPDATE installs SET stage = ?, stage_at = ?, code = ?, error = ?,
            started_at = CASE WHEN ? THEN ? ELSE started_at END, restarts = restarts + ?
            WHERE id = ? AND stage = ?""",
            [
                to.value,
                at,
                code,
                error[:2000],
                to is Stage.INSTALLING,
                at,
                to is Stage.RESTARTING,
                install.id,
                install.stage.value,
            ],
        )
        if done.rowcount and to is Stage.INSTALLING:
            db.execute(
                "UPDATE installs SET stage = ?, stage_at = ? WHERE id < ? AND stage = ?",
                [Stage.REPLACED.value, at, install.id, Stage.INSTALLED.value],
            )
    return bool(done.rowcount)


def restart_soon(db: Database) -> Install:
    """An admin asks for the restart into what is installed. Raises NothingToRestartInto."""
    install = unfinished_install(db)
    if install is None or install.stage is not Stage.INSTALLED:
        raise NothingToRestartInto("No installed release waits for a restart.")
    db.execute("UPDATE installs SET restart_now = 1 WHERE id = ?", [install.id])
    return install


def record_progress(activity: Database, install: Install, progress: Progress) -> None:
    """Keeps how far it is."""
    activity.execute(
        "INSERT OR REPLACE INTO install_progress (install_id, percent, step, at) VALUES (?, ?, ?, ?)",
        [install.id, progress.percent, progress.step, progress.at],
    )


def progress_of(activity: Database, install: Install) -> Progress | None:
    """None before the installer has said anything."""
    row = activity.execute(
        "SELECT percent, step, at FROM install_progress WHERE install_id = ?", [install.id]
    ).fetchone()
    return Progress(*row) if row else None


def seconds_left(install: Install, progress: Progress | None) -> float | None:
    """At the speed so far; None while too little is known. Pure."""
    if install.started_at is None or progress is None or progress.percent < 5:
        return None
    passed = progress.at - install.started_at
    return max(0.0, passed * (100 - progress.percent) / progress.percent)


def _install(row: tuple[Any, ...]) -> Install:
    values = dict(zip(Install.__dataclass_fields__, row, strict=True))
    changed = {
        "origin": Origin(values["origin"]),
        "stage": Stage(values["stage"]),
        "restart_now": bool(values["restart_now"]),
    }
    return Install(**(values | changed))
