"""What keeping should do next: a pure rule over what was chosen, what was asked for and what was done.

A night that was missed, because the box was off, is made up once. A backup that failed is tried again after
an hour, then after two, and from the third failure on with the next night. Drills follow backups: the first
one at once, then each week.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from appliance.keeping.history import Run, Work
from appliance.keeping.targets import BackupChoice, KeepingRequests, SftpTarget

HOUR = 3600.0
DRILL_EVERY_SECONDS = 7 * 24 * HOUR
DRILL_AGAIN_SECONDS = 24 * HOUR
BACKUP_OLD_AFTER_SECONDS = 48 * HOUR
DRILL_OLD_AFTER_SECONDS = 10 * 24 * HOUR
FAILURES_OF_A_NIGHT = 3


@dataclass(frozen=True)
class Done:
    """The last run of a kind, the last that ended well, and how many failed since."""

    last: Run | None = None
    good: Run | None = None
    failures: int = 0


def next_work(
    choice: BackupChoice,
    requests: KeepingRequests,
    done: Mapping[Work, Done],
    *,
    now: float,
    zone: tzinfo | None = None,
) -> Work | None:
    """What is due at `now` (epoch seconds). `zone` None is that of the box."""
    if choice.target is None:
        return None
    wishes = {
        Work.TEST: requests.test_at,
        Work.CHECK: requests.check_at,
        Work.BACKUP: requests.backup_at,
        Work.DRILL: requests.drill_at,
    }
    if isinstance(choice.target, SftpTarget) and not choice.target.host_key:
        # nobody has said yet that this is the server: it is only asked for its key
        wishes = {Work.TEST: requests.test_at}
    for work, wished_at in wishes.items():
        last = done[work].last
        if wished_at > (last.started_at if last else 0.0):
            return work
    if len(wishes) == 1:
        return None
    if _backup_is_due(choice, done[Work.BACKUP], now, zone):
        return Work.BACKUP
    return Work.DRILL if _drill_is_due(choice, done, now) else None


def last_night(nightly_at: str, now: float, zone: tzinfo | None) -> float:
    """The last moment, at or before `now`, at which the box's clocks showed `nightly_at` (HH:MM)."""
    hour, minute = map(int, nightly_at.split(":"))
    here = datetime.fromtimestamp(now, zone)
    night = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (night if night <= here else night - timedelta(days=1)).timestamp()


def backup_is_old(done: Done, choice: BackupChoice, now: float) -> bool:
    """Whether the page should be red: no good backup for two days since there is a target."""
    since = max(done.good.started_at if done.good else 0.0, choice.chosen_at)
    return choice.target is not None and now - since > BACKUP_OLD_AFTER_SECONDS


def drill_is_bad(done: Done, choice: BackupChoice, now: float) -> bool:
    """Whether the last drill failed, or no good one was for ten days."""
    if choice.target is None:
        return False
    if done.last and done.last.ended_at is not None and not done.last.succeeded:
        return True
    since = max(done.good.started_at if done.good else 0.0, choice.chosen_at)
    return now - since > DRILL_OLD_AFTER_SECONDS


def _backup_is_due(choice: BackupChoice, done: Done, now: float, zone: tzinfo | None) -> bool:
    if done.last is None or done.last.started_at < choice.chosen_at:
        return True
    if done.last.started_at < last_night(choice.nightly_at, now, zone):
        return True
    retry_at = done.last.started_at + done.failures * HOUR
    return 0 < done.failures < FAILURES_OF_A_NIGHT and now >= retry_at


def _drill_is_due(choice: BackupChoice, done: Mapping[Work, Done], now: float) -> bool:
    backup, drill = done[Work.BACKUP].good, done[Work.DRILL]
    if backup is None or backup.started_at < choice.chosen_at:
        return False
    if drill.last is None or drill.last.started_at < choice.chosen_at:
        return True
    wait = DRILL_EVERY_SECONDS if drill.last.succeeded else DRILL_AGAIN_SECONDS
    return now - drill.last.started_at >= wait
