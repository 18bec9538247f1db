"""Follows the install that was ordered, from the order to the verdict of its boot; begun anew, it goes on
where it was.

`hurry` is called every two seconds and looks at the machine only while something moves; `watch` every half
minute, for what comes by itself: the window, the verdict after a restart.
"""

import logging
import shutil
from dataclasses import replace

from sqlite_utils import Database

from appliance.boot import is_refused
from appliance.errors import Refusal, TryAgain
from appliance.host import Busy, Host, InstallPlan, InstallState, InstallStatus
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.updating.deciding import may_restart
from appliance.updating.found import forget_found
from appliance.updating.installs import (
    Install,
    Progress,
    Stage,
    move_install,
    record_progress,
    unfinished_install,
)
from appliance.updating.moving import Act, Move, next_move
from appliance.updating.release import Origin
from appliance.updating.this_box import gather_facts, read_box, updates_dir

log = logging.getLogger("cellule.updating")
_TOLD = {
    Stage.INSTALLED: AuditEvent.BOX_RELEASE_INSTALLED,
    Stage.FAILED: AuditEvent.BOX_RELEASE_REFUSED,
    Stage.HELD: AuditEvent.BOX_RELEASE_RUNNING,
}


def hurry(settings: Settings, host: Host, *, at: float) -> str:
    """One turn while an install moves; the new stage as a sentence, "" for none."""
    with open_cellule(settings.state_dir) as db:
        install = unfinished_install(db)
        if install is None:
            return ""
        is_asked = install.stage is Stage.INSTALLED and install.restart_now
        is_moving = install.stage in {Stage.ORDERED, Stage.INSTALLING, Stage.RESTARTING}
        return _turn(settings, db, host, install, at) if is_asked or is_moving else ""


def watch(settings: Settings, host: Host, *, at: float) -> str:
    """One turn whatever the stage."""
    with open_cellule(settings.state_dir) as db:
        install = unfinished_install(db)
        return _turn(settings, db, host, install, at) if install else ""


def _turn(settings: Settings, db: Database, host: Host, install: Install, at: float) -> str:
    with open_activity(settings.state_dir) as activity:
        status = host.install_status()
        if install.stage is Stage.INSTALLING and _is_running(install, status):
            record_progress(activity, install, Progress(status.percent, status.step, at))
            return ""
        box = read_box(host)
        if box is None:
            return ""
        facts = gather_facts(settings, db, box, host.machine_plan().timezone, at=at)
        move = next_move(
            install,
            status,
            box,
            is_refused=is_refused(db, install.version),
            may_restart=may_restart(install, facts),
            at=at,
        )
        if move.to is None or not move_install(db, install, move.to, at=at, code=move.code, error=move.error):
            return ""
        _tell(activity, install, move.to, move.error or move.code)
        _clear_up(settings, activity, host, install, move.to)
        if refusal := _act(host, install, move):
            _take_back(db, activity, install, move, refusal=refusal, at=at)
            return f"{install.version}: {refusal}"
        return f"{install.version} is {move.to.value}"


def _is_running(install: Install, status: InstallStatus) -> bool:
    return status.state is InstallState.INSTALLING and status.version == install.version


def _act(host: Host, install: Install, move: Move) -> Refusal | None:
    """What the machine refused with."""
    try:
        match move.act:
            case Act.INSTALL:
                host.install_release(
                    InstallPlan(
                        source=install.source, manifest_hash=install.manifest_hash, version=install.version
                    )
                )
            case Act.RESTART:
                log.info("restarting into %s", install.version)
                host.reboot()
            case Act.NOTHING:
                pass
    except Refusal as refusal:
        return refusal
    return None


def _take_back(
    db: Database, activity: Database, install: Install, move: Move, *, refusal: Refusal, at: float
) -> None:
    """The stage was recorded before the act, and the act was refused."""
    assert move.to is not None, "an act comes with a stage"
    now = replace(install, stage=move.to)
    if move.act is Act.RESTART:
        move_install(db, now, Stage.INSTALLED, at=at)
    elif isinstance(refusal, Busy | TryAgain):
        move_install(db, now, Stage.ORDERED, at=at)
    else:
        move_install(db, now, Stage.FAILED, at=at, code=refusal.code, error=refusal.sentence)
        _tell(activity, install, Stage.FAILED, refusal.sentence)


def _clear_up(settings: Settings, activity: Database, host: Host, install: Install, to: Stage) -> None:
    """The stick may be unplugged once it was read; what was unpacked goes when the release holds."""
    if install.origin is Origin.STICK and to in {Stage.INSTALLED, Stage.FAILED}:
        host.release_stick()
    if install.origin.is_offline and to is Stage.HELD:
        shutil.rmtree(updates_dir(settings) / install.origin.value, ignore_errors=True)
        forget_found(activity, install.origin)


def _tell(activity: Database, install: Install, stage: Stage, detail: str) -> None:
    if event := _TOLD.get(stage):
        record_audit(activity, event, subject=install.version, detail=detail)
