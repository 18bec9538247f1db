"""Notes in the audit trail what a page has just done: by whom, and from which address."""

from appliance.people import AuditEvent, record_audit
from webadmin.database import activity
from webadmin.visitor import client_address, current_account


def noted(event: AuditEvent, *, actor: str = "", subject: str = "", detail: str = "") -> None:
    """One line; `actor` is the visitor's account unless it is given."""
    account = current_account()
    who = actor or (account.name if account else None)
    record_audit(activity(), event, actor=who, address=client_address(), subject=subject, detail=detail)
