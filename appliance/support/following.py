"""Support's jobs of the core: a session's end, a bundle that was asked for, the audit trail's soundness."""

import logging

from appliance.host import HostUnavailable, brokered
from appliance.people import (
    AuditChoice,
    AuditEvent,
    ChainState,
    forget_old_lines,
    note_anchor,
    record_audit,
)
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice
from appliance.support.bundle import collect_requested_bundle
from appliance.support.sessions import settle_session

log = logging.getLogger("cellule.audit")


def follow_session(settings: Settings) -> str:
    """Closes what is over; see settle_session."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        try:
            return settle_session(db, activity, brokered(settings))
        except HostUnavailable:
            # the broker closes whatever is open before it answers again
            return "the host broker does not answer"


def follow_bundle(settings: Settings) -> str:
    """Collects what an admin asked for; see collect_requested_bundle."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        return collect_requested_bundle(settings, db, activity, brokered(settings))


def follow_audit(settings: Settings) -> str:
    """Forgets what is older than was chosen, verifies the chain, and tells the journal where it stands.

    The journal belongs to root, so a trail that was rewritten as a whole no longer fits what stands there.
    """
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        years = read_choice(db, AuditChoice).years_kept
        if gone := forget_old_lines(activity, years):
            detail = f"{gone} lines older than {years} years"
            record_audit(activity, AuditEvent.BOX_AUDIT_FORGOTTEN, detail=detail)
        report = note_anchor(db, activity)
    if report.state is not ChainState.WHOLE:
        log.error("the audit trail is %s at line %s", report.state, report.line_id)
    return f"audit trail {report.state}, {report.lines} lines, newest {report.head[:16]}"
