"""Every job of the box: what it does and how often. Adding one is adding an entry.

A job overlaps itself only where its entry says so; runs that were missed while the box slept are made up
once. A job that fails is logged and tried again at its next turn: it must be safe to repeat.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlite_utils import Database

from appliance.accounting import roll_up_ledger
from appliance.claim import ensure_certificate
from appliance.clock import now
from appliance.enrolment import expire_invitations
from appliance.host import brokered
from appliance.jobs.health import check_health, recognise_box
from appliance.jobs.silence import forget_old_reports, silent_workers
from appliance.keeping import follow_change, keep
from appliance.models.checks import follow_checks
from appliance.models.following import follow_gets, follow_models
from appliance.models.turns import MOST_AT_ONCE
from appliance.people import forget_old_sessions, forget_old_sign_in_attempts
from appliance.placement.following import follow_benchmarks, follow_plan
from appliance.placement.leading import lead
from appliance.placement.splitting import split_models
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.support.following import follow_audit, follow_bundle, follow_session
from appliance.updating.following import hurry, watch
from appliance.updating.looking import follow_channel
from appliance.updating.offline import follow_offline


@dataclass(frozen=True)
class Job:
    """`run(settings)` every `period_seconds`; it returns what it did as a sentence, "" for nothing."""

    name: str
    period_seconds: float
    run: Callable[[Settings], str]
    at_once: int = 1
    """So many of its runs may be at work."""


def _roll_up_ledger(settings: Settings) -> str:
    with open_activity(settings.state_dir) as activity:
        lines = roll_up_ledger(activity)
    return f"{lines} ledger lines rolled up" if lines else ""


def _dead_nodes(settings: Settings) -> str:
    with open_cellule(settings.state_dir) as database, open_activity(settings.state_dir) as activity:
        forget_old_reports(database, activity, now())
        silent = silent_workers(database, activity, now())
    return f"silent workers: {', '.join(silent)}" if silent else ""


def _expired_invitations(settings: Settings) -> str:
    with open_cellule(settings.state_dir) as database:
        wiped = expire_invitations(database)
    return f"{wiped} invitations expired" if wiped else ""


def _old_sign_ins(settings: Settings) -> str:
    with open_cellule(settings.state_dir) as database, open_activity(settings.state_dir) as activity:
        forget_old_sessions(database)
        forget_old_sign_in_attempts(activity)
    return ""


def _certificate(settings: Settings) -> str:
    """Names the addresses of today in the certificate; nginx takes it up (cellule-certificates.path)."""
    if settings.tls and settings.listen_socket:
        ensure_certificate(settings)
    return ""


def _checkpoint(settings: Settings) -> str:
    for opened in (open_cellule, open_activity):
        with opened(settings.state_dir) as database:
            _checkpoint_file(database)
    return ""


def _checkpoint_file(database: Database) -> None:
    # moves the write-ahead log into the file, so that a long-running box doesn't grow one without end
    database.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _keeping(settings: Settings) -> str:
    return keep(settings, brokered(settings))


def _moving_install(settings: Settings) -> str:
    return hurry(settings, brokered(settings), at=now())


def _releases(settings: Settings) -> str:
    host = brokered(settings)
    return watch(settings, host, at=now()) or follow_channel(settings, host)


def _offline_release(settings: Settings) -> str:
    return follow_offline(settings, brokered(settings))


def _model_gets(settings: Settings) -> str:
    return follow_gets(settings, brokered(settings))


def _models(settings: Settings) -> str:
    return follow_models(settings, brokered(settings))


def _guarded_change(settings: Settings) -> str:
    return follow_change(settings, brokered(settings), at=now())


JOBS = (
    Job("guarded_change", 1, _guarded_change),
    Job("ledger_roll_up", 60, _roll_up_ledger),
    Job("dead_nodes", 15, _dead_nodes),
    Job("expired_invitations", 60, _expired_invitations),
    Job("old_sign_ins", 600, _old_sign_ins),
    Job("certificate", 5, _certificate),  # a new address must be opened and confirmed within 90 s
    Job("hardware", 600, recognise_box),
    Job("health", 20, check_health),
    Job("wal_checkpoint", 300, _checkpoint),
    Job("keeping", 3, _keeping),
    Job("moving_install", 2, _moving_install),
    Job("releases", 30, _releases),
    Job("offline_release", 2, _offline_release),
    Job("model_gets", 1, _model_gets, at_once=MOST_AT_ONCE + 1),  # one more, to cancel those that wait
    Job("model_checks", 2, follow_checks),
    Job("models", 30, _models),
    Job("support_session", 2, follow_session),
    Job("support_bundle", 2, follow_bundle),
    Job("audit_trail", 600, follow_audit),
    Job("engine_benchmarks", 60, follow_benchmarks),
    Job("plan", 15, follow_plan),
    Job("leading", 2, lead),
    Job("split_models", 5, split_models),
)
