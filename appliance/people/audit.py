"""The audit trail: who decided what about the box, and when. Lines are added, never changed.

Every event is named here as source:subject:action. Details are sentences or figures for a person; no secret,
no prompt and no answer is ever among them.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from appliance.clock import now


class AuditEvent(StrEnum):
    """source:subject:action. The source is who can cause it: admin, box, vendor, console."""

    ADMIN_BOX_CLAIMED = "admin:box:claimed"
    ADMIN_MACHINE_CHANGED = "admin:machine:changed"
    ADMIN_CHANGE_CONFIRMED = "admin:change:confirmed"
    BOX_CHANGE_UNDONE = "box:change:undone"
    ADMIN_RELEASE_INSTALL = "admin:release:install"
    ADMIN_UPDATES_CHANGED = "admin:updates:changed"
    BOX_RELEASE_INSTALLED = "box:release:installed"
    BOX_RELEASE_REFUSED = "box:release:refused"
    BOX_BOOT_ROLLED_BACK = "box:boot:rolled-back"
    ADMIN_BACKUP_CHANGED = "admin:backup:changed"
    ADMIN_BACKUP_RESTORED = "admin:backup:restored"
    ADMIN_BOX_RESET = "admin:box:reset"
    ADMIN_SUPPORT_OPENED = "admin:support:opened"
    ADMIN_SUPPORT_CUT = "admin:support:cut"
    VENDOR_SUPPORT_COMMAND = "vendor:support:command"
    ADMIN_BUNDLE_MADE = "admin:bundle:made"


@dataclass(frozen=True)
class AuditLine:
    """One line of the trail; `at` is epoch seconds, `actor` an account's id or name as it was then."""

    id: int
    at: float
    event: str
    actor: str | None
    address: str | None
    subject: str
    detail: str


def record_audit(
    activity: Database,
    event: AuditEvent,
    *,
    actor: str | None = None,
    address: str | None = None,
    subject: str = "",
    detail: str = "",
) -> None:
    """Adds one line to the trail in activity.db."""
    activity.execute(
        "INSERT INTO audit (at, event, actor, address, subject, detail) VALUES (?, ?, ?, ?, ?, ?)",
        [now(), event.value, actor, address, subject, detail],
    )


def audit_lines(activity: Database, *, before_id: int | None = None, limit: int = 100) -> list[AuditLine]:
    """The newest lines first, at most `limit`, older than line `before_id`."""
    rows = activity.execute(
        "SELECT id, at, event, actor, address, subject, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
        [before_id if before_id is not None else 2**62, limit],
    )
    return [AuditLine(*row) for row in rows]
