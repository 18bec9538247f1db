"""The audit trail: who decided what about the box, and when. Lines are added, never changed.

Every event is named here as source:subject:action. Details are sentences or figures for a person; no secret,
no prompt and no answer is ever among them. Each line carries a hash over itself and the line before it
(`audit_chain`), so that a line that was changed or taken out later is found.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from sqlite_utils import Database

from appliance.clock import now
from appliance.people.audit_chain import seal
from appliance.storage import transaction

LONGEST_DETAIL_CHARACTERS = 2000


class AuditEvent(StrEnum):
    """source:subject:action. The source is who can cause it: admin, user, visitor, box, vendor, console."""

    ADMIN_BOX_CLAIMED = "admin:box:claimed"
    ADMIN_MACHINE_CHANGED = "admin:machine:changed"
    ADMIN_CHANGE_CONFIRMED = "admin:change:confirmed"
    BOX_CHANGE_UNDONE = "box:change:undone"
    ADMIN_RELEASE_INSTALL = "admin:release:install"
    ADMIN_UPDATES_CHANGED = "admin:updates:changed"
    BOX_RELEASE_INSTALLED = "box:release:installed"
    BOX_RELEASE_REFUSED = "box:release:refused"
    BOX_RELEASE_RUNNING = "box:release:running"
    ADMIN_RELEASE_RESTART = "admin:release:restart"
    ADMIN_RELEASE_UPLOADED = "admin:release:uploaded"
    ADMIN_RELEASE_STICK = "admin:release:stick"
    BOX_BOOT_ROLLED_BACK = "box:boot:rolled-back"
    BOX_RELEASE_DAMAGED = "box:release:damaged"
    ADMIN_BACKUP_CHANGED = "admin:backup:changed"
    ADMIN_BACKUP_DOWNLOADED = "admin:backup:downloaded"
    ADMIN_BACKUP_RESTORED = "admin:backup:restored"
    ADMIN_BOX_RESET = "admin:box:reset"
    ADMIN_SUPPORT_OPENED = "admin:support:opened"
    ADMIN_SUPPORT_CUT = "admin:support:cut"
    ADMIN_SUPPORT_REFUSED = "admin:support:refused"
    BOX_SUPPORT_ENDED = "box:support:ended"
    VENDOR_SUPPORT_COMMAND = "vendor:support:command"
    VENDOR_SUPPORT_DONE = "vendor:support:done"
    ADMIN_BUNDLE_MADE = "admin:bundle:made"
    ADMIN_BUNDLE_TAKEN = "admin:bundle:taken"
    USER_SESSION_OPENED = "user:session:opened"
    USER_SESSION_CLOSED = "user:session:closed"
    VISITOR_SESSION_REFUSED = "visitor:session:refused"
    USER_PASSWORD_CHANGED = "user:password:changed"  # noqa: S105
    ADMIN_PERSON_ADDED = "admin:person:added"
    ADMIN_PERSON_DISABLED = "admin:person:disabled"
    ADMIN_PERSON_ENABLED = "admin:person:enabled"
    ADMIN_PASSWORD_RESET = "admin:password:reset"  # noqa: S105
    ADMIN_KEY_MADE = "admin:key:made"
    ADMIN_KEY_REVOKED = "admin:key:revoked"
    ADMIN_WORKER_INVITED = "admin:worker:invited"
    ADMIN_INVITATION_WITHDRAWN = "admin:invitation:withdrawn"
    ADMIN_WORKER_APPROVED = "admin:worker:approved"
    ADMIN_WORKER_REVOKED = "admin:worker:revoked"
    ADMIN_SERVER_ADOPTED = "admin:server:adopted"
    ADMIN_SERVER_RELEASED = "admin:server:released"
    ADMIN_MODEL_GET = "admin:model:get"
    BOX_MODEL_ADDED = "box:model:added"
    BOX_MODEL_REFUSED = "box:model:refused"
    ADMIN_MODEL_REMOVED = "admin:model:removed"
    ADMIN_MODEL_CHECKED = "admin:model:checked"
    ADMIN_MODELS_CHANGED = "admin:models:changed"
    ADMIN_ALIAS_MOVED = "admin:alias:moved"
    ADMIN_PLAN_APPLIED = "admin:plan:applied"
    ADMIN_PLAN_CHANGED = "admin:plan:changed"
    ADMIN_AUDIT_KEPT = "admin:audit:kept"
    BOX_AUDIT_FORGOTTEN = "box:audit:forgotten"
    ADMIN_RECOVERY_KEY_MADE = "admin:recovery-key:made"
    CONSOLE_NETWORK_CHANGED = "console:network:changed"
    CONSOLE_BOX_RESTARTED = "console:box:restarted"
    CONSOLE_BOX_TURNED_OFF = "console:box:turned-off"
    CONSOLE_BOX_RESET = "console:box:reset"
    CONSOLE_DISK_INSTALL = "console:disk:install"
    CONSOLE_LANGUAGE_CHANGED = "console:language:changed"

    @property
    def source(self) -> str:
        return self.value.split(":")[0]

    @property
    def subject(self) -> str:
        return self.value.split(":")[1]


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


@dataclass(frozen=True)
class AuditFilter:
    """Which lines; "" and None leave everything. Times are epoch seconds, `until` not included."""

    source: str = ""
    kind: str = ""
    """The middle word of the event: support, worker, key …"""
    actor: str = ""
    since: float | None = None
    until: float | None = None

    def condition(self) -> tuple[str, list[object]]:
        """SQL for WHERE, and its values."""
        parts: list[tuple[str, object]] = []
        if self.source or self.kind:
            parts.append(("event GLOB ?", f"{self.source or '*'}:{self.kind or '*'}:*"))
        if self.actor:
            parts.append(("actor = ?", self.actor))
        if self.since is not None:
            parts.append(("at >= ?", self.since))
        if self.until is not None:
            parts.append(("at < ?", self.until))
        return " AND ".join(["1", *(sql for sql, _ in parts)]), [value for _, value in parts]


def record_audit(
    activity: Database,
    event: AuditEvent,
    *,
    actor: str | None = None,
    address: str | None = None,
    subject: str = "",
    detail: str = "",
) -> None:
    """Adds one line to the trail in activity.db, chained to the line before it."""
    line = [now(), event.value, actor, address, subject, detail[:LONGEST_DETAIL_CHARACTERS]]
    # two writers must not chain to the same line; a caller may have a transaction of its own
    with nullcontext() if activity.conn.in_transaction else transaction(activity):
        activity.execute(
            "INSERT INTO audit (at, event, actor, address, subject, detail) VALUES (?, ?, ?, ?, ?, ?)", line
        )
        seal(activity)


def audit_lines(
    activity: Database,
    *,
    before_id: int | None = None,
    limit: int = 100,
    only: AuditFilter = AuditFilter(),
) -> list[AuditLine]:
    """The newest lines first, at most `limit`, older than line `before_id`."""
    condition, values = only.condition()
    rows = activity.execute(
        "SELECT id, at, event, actor, address, subject, detail FROM audit"  # noqa: S608 question marks only
        f" WHERE id < ? AND {condition} ORDER BY id DESC LIMIT ?",
        [before_id if before_id is not None else 2**62, *values, limit],
    )
    return [AuditLine(*row) for row in rows]


def audit_actors(activity: Database) -> list[str]:
    """Everybody who is named in the trail, by name."""
    return [
        row[0] for row in activity.execute("SELECT DISTINCT actor FROM audit WHERE actor <> '' ORDER BY 1")
    ]


def audit_csv(activity: Database, only: AuditFilter) -> Iterator[str]:
    """The lines as CSV (RFC 4180), newest first, piece by piece, under a head line; times ISO 8601."""
    yield _row([field.name for field in fields(AuditLine)])
    before: int | None = None
    while lines := audit_lines(activity, before_id=before, limit=1000, only=only):
        yield "".join(_row(_cells(line)) for line in lines)
        before = lines[-1].id


def _cells(line: AuditLine) -> list[str]:
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="seconds")
    texts = (line.event, line.actor or "", line.address or "", line.subject, line.detail)
    return [str(line.id), at, *map(_no_formula, texts)]


def _no_formula(text: str) -> str:
    """Nobody's words may run in the spreadsheet of whoever opens the file (OWASP: CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _row(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
