"""Restore in two steps that nothing can catch halfway: checked aside, then swapped in before the box starts.

`stage_*` unpacks a backup beside the running box, checks it and proves that it opens; the box is as before.
`confirm_restore` marks it pending. `apply_pending_restore` runs at the next start, before any process has a
file open, and moves each file with one rename; cut off anywhere, it goes on at the start after. What it
replaced stays in `former`, so `undo_restore` is the same swap the other way round. A restored box that this
version can't open is swapped back at once.
"""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict
from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.errors import Refusal, Refused
from appliance.keeping.archive import read_archive
from appliance.keeping.identity import IDENTITY_FILE
from appliance.keeping.key import FORMER_PASSWORD_FILE, BackupKey, kept_of
from appliance.keeping.places import at_work, empty_folder, keeping_dir
from appliance.keeping.snapshot import SECRETS, Manifest, check_snapshot, prove
from appliance.people.audit import AuditEvent, record_audit
from appliance.private_file import replace, sync_folder
from appliance.settings import Settings
from appliance.storage import DATABASE_FILES, open_activity, open_cellule

WAY_BACK_SECONDS = 7 * 24 * 3600.0
log = logging.getLogger(__name__)


class NothingToRestore(Refused):
    """No checked backup waits, or it was discarded or swapped in meanwhile."""

    code = "nothing_to_restore"
    http_status = 409


class RestoreStep(StrEnum):
    """How far the last restore came."""

    STAGED = "staged"
    """checked, waits for a decision"""
    PENDING = "pending"
    """swapped in at the next start"""
    DONE = "done"
    RETURNING = "returning"
    """what it replaced comes back at the next start"""
    RETURNED = "returned"


class Restore(BaseModel):
    """The last restore. `asked_by` is an account's name; `trouble` says why the box itself undid it."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    step: RestoreStep
    manifest: Manifest
    source: str
    changed_at: float
    asked_by: str = ""
    trouble: str = ""


def last_restore(settings: Settings) -> Restore | None:
    """How far the last restore came; None when there was none or it was discarded."""
    try:
        return Restore.model_validate_json(settings.restore_record.read_bytes())
    except FileNotFoundError:
        return None


def stage_archive(
    settings: Settings, archive: IO[bytes], key: BackupKey, *, source: str, clock: Clock = now
) -> Restore:
    """Checks a downloaded backup. Raises WrongBackupKey, BackupDamaged, BackupTooNew, SchemaTooNew,
    NotEnoughSpace, KeepingBusy."""
    with at_work(settings):
        scratch = empty_folder(settings, "scratch")
        try:
            read_archive(archive, scratch, key)
            return stage_folder(settings, scratch, key, source=source, clock=clock)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def stage_folder(
    settings: Settings, folder: Path, key: BackupKey | None, *, source: str, clock: Clock = now
) -> Restore:
    """Checks an unpacked snapshot on the data partition and takes the folder; the caller is `at_work`.

    Without the key, which a box needs no more for its own backups, the tunnels' key stays the one it has.
    """
    _refuse_under_way(settings)
    manifest = check_snapshot(folder)
    prove(folder)
    with open_cellule(folder) as database:
        # a session that was signed out since must not come alive again
        database.execute("DELETE FROM sessions")
    if key is not None:
        replace(folder / IDENTITY_FILE, str(key.identity).encode())
        for name, content in kept_of(key).items():
            replace(folder / SECRETS / name, content.encode())
    discard_restore(settings)
    folder.rename(keeping_dir(settings) / "incoming")
    return _record(
        settings, Restore(step=RestoreStep.STAGED, manifest=manifest, source=source, changed_at=clock())
    )


def discard_restore(settings: Settings) -> None:
    """Forgets a staged backup. Raises NothingToRestore when one is already on its way in."""
    _refuse_under_way(settings)
    settings.restore_record.unlink(missing_ok=True)
    for name in ("incoming", "former"):
        shutil.rmtree(keeping_dir(settings) / name, ignore_errors=True)


def confirm_restore(settings: Settings, *, asked_by: str, clock: Clock = now) -> Restore:
    """The staged backup is swapped in at the next start of the box. Raises NothingToRestore."""
    return _advance(settings, RestoreStep.STAGED, RestoreStep.PENDING, asked_by, clock)


def undo_restore(settings: Settings, *, asked_by: str, clock: Clock = now) -> Restore:
    """What the last restore replaced comes back at the next start. Raises NothingToRestore."""
    return _advance(settings, RestoreStep.DONE, RestoreStep.RETURNING, asked_by, clock)


def forget_former(settings: Settings, *, clock: Clock = now) -> bool:
    """Gives up the way back of a restore that is a week old; whether there was one."""
    restore = last_restore(settings)
    if restore is None or restore.step is not RestoreStep.DONE:
        return False
    if clock() < restore.changed_at + WAY_BACK_SECONDS:
        return False
    discard_restore(settings)
    return True


def apply_pending_restore(settings: Settings, *, clock: Clock = now) -> Restore | None:
    """Called at every start, before any process opens a file; does nothing unless a restore is pending.

    Returns the restore that this start finished, None for nothing.
    """
    restore = last_restore(settings)
    if restore is not None and restore.step is RestoreStep.PENDING:
        _swap(settings, into="former")
        try:
            return _finish(settings, restore, clock)
        except (Refusal, sqlite3.Error) as error:
            log.error("the restored box can't be opened, going back: %s", error)
            restore = _record(
                settings, restore.model_copy(update={"step": RestoreStep.RETURNING, "trouble": str(error)})
            )
    if restore is not None and restore.step is RestoreStep.RETURNING:
        return _return(settings, restore, clock)
    return None


def _finish(settings: Settings, restore: Restore, clock: Clock) -> Restore:
    (settings.secrets_dir / FORMER_PASSWORD_FILE).unlink(missing_ok=True)
    open_cellule(settings.state_dir).close()
    done = restore.model_copy(update={"step": RestoreStep.DONE, "changed_at": clock()})
    with open_activity(settings.state_dir) as activity:
        _say(activity, done, f"{done.manifest.box}, {done.source}")
    return _record(settings, done)


def _return(settings: Settings, restore: Restore, clock: Clock) -> Restore:
    folder = keeping_dir(settings)
    if (folder / "former").exists():
        shutil.rmtree(folder / "incoming", ignore_errors=True)
        (folder / "former").rename(folder / "incoming")
    _swap(settings, into="undone")
    for name in ("undone", "incoming"):
        shutil.rmtree(folder / name, ignore_errors=True)
    returned = restore.model_copy(update={"step": RestoreStep.RETURNED, "changed_at": clock()})
    with open_activity(settings.state_dir) as activity:
        _say(activity, returned, f"undone: {returned.trouble}" if returned.trouble else "undone")
    return _record(settings, returned)


def _swap(settings: Settings, *, into: str) -> None:
    """Moves each incoming file to its place, what was there to `into`. Goes on after a cut anywhere."""
    folder = keeping_dir(settings)
    incoming, replaced = folder / "incoming", folder / into
    for path in _in_order(incoming):
        place = settings.state_dir / path
        # the logs belong to the database that goes: a new one with an old log would be destroyed by it
        logs = [place.with_name(f"{place.name}{end}") for end in ("-wal", "-shm")]
        leaving = [place, *(logs if place.name in DATABASE_FILES else [])]
        for each in (each for each in reversed(leaving) if each.exists()):
            aside = replaced / each.relative_to(settings.state_dir)
            aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            each.replace(aside)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (incoming / path).rename(place)
        sync_folder(place.parent)


def _in_order(incoming: Path) -> Iterator[Path]:
    """Relative paths; a database before its own log, which moves only once the database is in place."""
    for name in DATABASE_FILES:
        files = (Path(f"{name}{end}") for end in ("", "-wal", "-shm"))
        yield from (file for file in files if (incoming / file).exists())
    secrets = sorted(path for path in (incoming / SECRETS).rglob("*") if path.is_file())
    yield from (path.relative_to(incoming) for path in secrets)


def _refuse_under_way(settings: Settings) -> None:
    restore = last_restore(settings)
    if restore and restore.step in (RestoreStep.PENDING, RestoreStep.RETURNING):
        raise NothingToRestore(
            "A restore takes effect at the next start of the box.", next_step="Restart the box first."
        )


def _advance(
    settings: Settings, before: RestoreStep, after: RestoreStep, asked_by: str, clock: Clock
) -> Restore:
    with at_work(settings):
        restore = last_restore(settings)
        if restore is None or restore.step is not before:
            raise NothingToRestore(
                "There is nothing to restore any more.", next_step="Load the page again to see how it stands."
            )
        changes = {"step": after, "asked_by": asked_by, "changed_at": clock()}
        return _record(settings, restore.model_copy(update=changes))


def _record(settings: Settings, restore: Restore) -> Restore:
    replace(settings.restore_record, restore.model_dump_json().encode())
    return restore


def _say(activity: Database, restore: Restore, detail: str) -> None:
    record_audit(
        activity,
        AuditEvent.ADMIN_BACKUP_RESTORED,
        actor=restore.asked_by or None,
        subject=restore.manifest.box,
        detail=detail,
    )
