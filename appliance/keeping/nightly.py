"""The core's part: whatever is due at the backup target, one at a time, each with a line in the history.

`keep` is called every few seconds and returns at once when nothing is due. No page speaks to a target; it
writes a wish and reads the history, so a closed tab changes nothing.
"""

import json
import logging
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.host import Host, HostUnavailable, NotFound
from appliance.host.outbound import keep_open
from appliance.keeping.guarded import pending_change
from appliance.keeping.history import (
    Recorder,
    Step,
    Work,
    end_cut_off_runs,
    failures_since_success,
    last_run,
    running,
)
from appliance.keeping.identity import give_identity, holds_tunnel_key, read_identity
from appliance.keeping.key import backup_recipient, forget_given_key, is_backup_key_confirmed, take_given_key
from appliance.keeping.places import KeepingBusy, at_work, empty_folder, keeping_dir, require_space
from appliance.keeping.repository import open_target, read_host_key
from appliance.keeping.restic import BackupSnapshot, Restic
from appliance.keeping.restoring import RestoreStep, forget_former, last_restore, stage_folder
from appliance.keeping.schedule import Done, next_work
from appliance.keeping.snapshot import check_snapshot, prove, take_snapshot
from appliance.keeping.targets import (
    REASON_OUTBOUND,
    BackupChoice,
    KeepingRequests,
    SftpTarget,
    Target,
    backup_outbound,
)
from appliance.keeping.troubles import NoRepository
from appliance.private_file import replace
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice

SNAPSHOTS_FILE = "snapshots.json"
log = logging.getLogger(__name__)


def keep(settings: Settings, host: Host, *, clock: Clock = now) -> str:
    """Does what is due; a sentence about it, "" for nothing."""
    finish_restore(settings, host)
    # a work that needs the host says itself that it is away
    with suppress(HostUnavailable):
        _open_way(settings, host)
    with open_activity(settings.state_dir) as activity:
        choice, requests, work = _due(settings, activity, clock)
        if work is None or choice.target is None:
            _tidy(settings, activity, clock)
            return ""
        try:
            with at_work(settings), Recorder(activity, work, clock) as recorder:
                _RUNS[work](_Task(settings, host, choice.target, requests, recorder, clock))
        except KeepingBusy:
            return ""
        return f"{work}: {recorder.refusal or 'done'}"


def _open_way(settings: Settings, host: Host) -> None:
    """The firewall lets the box call the target that an admin chose, and no former one."""
    with open_cellule(settings.state_dir) as database:
        if pending_change(database) is None:
            keep_open(host, REASON_OUTBOUND, backup_outbound(read_choice(database, BackupChoice)))


def read_done(activity: Database) -> dict[Work, Done]:
    """The history as the schedule and the page see it."""
    return {
        work: Done(
            last_run(activity, work),
            last_run(activity, work, succeeded=True),
            failures_since_success(activity, work),
        )
        for work in Work
    }


def known_snapshots(settings: Settings) -> list[BackupSnapshot]:
    """What lay at the target when the box was last there, the newest first."""
    try:
        listed = json.loads((keeping_dir(settings) / SNAPSHOTS_FILE).read_bytes())
    except FileNotFoundError:
        return []
    return [BackupSnapshot(**each) for each in listed]


def forget_snapshots(settings: Settings) -> None:
    """After another target was chosen."""
    (keeping_dir(settings) / SNAPSHOTS_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Task:
    """One run with all that it needs."""

    settings: Settings
    host: Host
    target: Target
    requests: KeepingRequests
    recorder: Recorder
    clock: Clock

    def note_snapshots(self, restic: Restic) -> list[BackupSnapshot]:
        found = restic.snapshots()
        listed = json.dumps([asdict(snapshot) for snapshot in found]).encode()
        replace(keeping_dir(self.settings) / SNAPSHOTS_FILE, listed)
        return found


def _test(task: _Task) -> None:
    if isinstance(task.target, SftpTarget) and not task.target.host_key:
        task.recorder.result(detail=read_host_key(task.target.host, task.target.port))
        return
    with open_target(task.settings, task.target, task.host) as repository:
        restic = Restic(task.settings, repository)
        try:
            restic.open(make=False)
        except NoRepository:
            forget_snapshots(task.settings)
            return
        task.note_snapshots(restic)


def _back_up(task: _Task) -> None:
    settings, recorder = task.settings, task.recorder
    recorder.step(Step.SNAPSHOT)
    from_host = read_identity(task.host, backup_recipient(settings))
    folder = empty_folder(settings, "snapshot")
    try:
        take_snapshot(settings, folder, from_host=from_host, clock=task.clock)
        recorder.step(Step.CONNECT)
        with open_target(settings, task.target, task.host) as repository:
            restic = Restic(settings, repository)
            restic.open(make=True)
            recorder.step(Step.STORE)
            stored = restic.store(folder, box=socket.gethostname(), at=task.clock(), progress=recorder.share)
            recorder.result(
                detail=stored.snapshot, size_bytes=stored.size_bytes, added_bytes=stored.added_bytes
            )
            recorder.step(Step.PRUNE)
            restic.forget_old()
            task.note_snapshots(restic)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drill(task: _Task) -> None:
    """Proves that the newest backup at the target would bring the box back."""

    def proven(task: _Task) -> None:
        folder, snapshot = _unpack(task, "latest")
        task.recorder.step(Step.PROVE)
        manifest = check_snapshot(folder)
        accounts = prove(folder)
        found = {"accounts": accounts, "box": manifest.box, "made_at": manifest.made_at, "id": snapshot}
        task.recorder.result(detail=json.dumps(found), size_bytes=manifest.size_bytes)

    _aside(task, proven)


def _check(task: _Task) -> None:
    """Unpacks the wished backup and leaves it staged."""

    def staged(task: _Task) -> None:
        folder, snapshot = _unpack(task, task.requests.check_snapshot)
        task.recorder.step(Step.PROVE)
        source = f"backup {snapshot[:8]}"
        stage_folder(task.settings, folder, take_given_key(task.settings), source=source, clock=task.clock)

    _aside(task, staged)


def _aside(task: _Task, work: Callable[[_Task], None]) -> None:
    try:
        work(task)
    finally:
        shutil.rmtree(keeping_dir(task.settings) / "scratch", ignore_errors=True)


_RUNS: dict[Work, Callable[[_Task], None]] = {
    Work.TEST: _test,
    Work.BACKUP: _back_up,
    Work.DRILL: _drill,
    Work.CHECK: _check,
}


def _unpack(task: _Task, wanted: str) -> tuple[Path, str]:
    """The folder of the unpacked snapshot, and its id."""
    settings, recorder = task.settings, task.recorder
    scratch = empty_folder(settings, "scratch")
    with open_target(settings, task.target, task.host) as repository:
        restic = Restic(settings, repository)
        restic.open(make=False)
        found = task.note_snapshots(restic)
        chosen = next((each.id for each in found if wanted == "latest" or each.id.startswith(wanted)), None)
        if chosen is None:
            raise NoRepository("This backup is not at the target any more.", next_step="Choose another one.")
        size_bytes = restic.size_of(chosen)
        require_space(scratch, 2 * size_bytes)
        recorder.step(Step.UNPACK)
        return restic.unpack(chosen, scratch, size_bytes=size_bytes, progress=recorder.share), chosen


def _due(
    settings: Settings, activity: Database, clock: Clock
) -> tuple[BackupChoice, KeepingRequests, Work | None]:
    with open_cellule(settings.state_dir) as database:
        choice = read_choice(database, BackupChoice)
        requests = read_choice(database, KeepingRequests)
    if not is_backup_key_confirmed(settings):
        return choice, requests, None
    return choice, requests, next_work(choice, requests, read_done(activity), now=clock())


def _tidy(settings: Settings, activity: Database, clock: Clock) -> None:
    with suppress(KeepingBusy), at_work(settings):
        if running(activity):
            end_cut_off_runs(activity, clock())
        forget_former(settings, clock=clock)
        forget_given_key(settings, clock())


def finish_restore(settings: Settings, host: Host) -> None:
    """What of a restore, or of its way back, needs the broker, which runs after the swap. Safe to repeat."""
    restore, replaced = last_restore(settings), keeping_dir(settings) / "tunnel-key-replaced"
    incoming = keeping_dir(settings) / "incoming"
    if restore is None:
        return
    if restore.step is RestoreStep.DONE and incoming.exists():
        if holds_tunnel_key(incoming):
            replaced.touch(mode=0o600)
        give_identity(host, incoming)
        shutil.rmtree(incoming)
    if restore.step is RestoreStep.RETURNED and replaced.exists():
        with suppress(NotFound):
            host.replace_wireguard_key(None, None)
        replaced.unlink()
