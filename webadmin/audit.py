"""The audit trail: who decided what, found by source, subject, person and day; as pages, and as CSV."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from flask import (
    Blueprint,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask import Response as FlaskResponse
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response

from appliance.people import (
    AuditAnchor,
    AuditChoice,
    AuditEvent,
    AuditFilter,
    AuditLine,
    ChainState,
    audit_actors,
    audit_csv,
    audit_lines,
    verify_chain,
)
from appliance.storage import read_choice, write_choice
from webadmin.audit_in_words import event_text
from webadmin.audit_noting import noted
from webadmin.database import activity, cellule
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("audit", __name__)

LINES_PER_PAGE = 100
YEARS_OFFERED = (1, 3, 5, 10)
SOURCES = {
    "admin": lazy_gettext("Admins"),
    "user": lazy_gettext("Employees"),
    "visitor": lazy_gettext("Visitors"),
    "vendor": lazy_gettext("Vendor support"),
    "box": lazy_gettext("The box itself"),
    "console": lazy_gettext("The console"),
}


@blueprint.get("/audit")
@admins_only
def show() -> Response:
    """The page, newest lines first."""
    only, before = _filter(), request.args.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    lines = audit_lines(activity(), before_id=before_id, limit=LINES_PER_PAGE + 1, only=only)
    return make_response(
        render_template(
            "audit.html",
            lines=lines[:LINES_PER_PAGE],
            older=_older(lines),
            is_first=before_id is None,
            chain=verify_chain(activity(), read_choice(cellule(), AuditAnchor)),
            states=ChainState,
            sources=SOURCES,
            kinds=sorted({event.subject for event in AuditEvent}),
            actors=audit_actors(activity()),
            chosen=_chosen(),
            years_kept=read_choice(cellule(), AuditChoice).years_kept,
            years_offered=YEARS_OFFERED,
            event_text=event_text,
        )
    )


@blueprint.get("/audit.csv")
@admins_only
def export() -> Response:
    """The lines that the same filter finds, all of them."""
    lines = stream_with_context(audit_csv(activity(), _filter()))
    day = datetime.now(UTC).date().isoformat()
    return FlaskResponse(
        lines,
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="cellule-audit-{day}.csv"'},
    )


@blueprint.post("/audit/kept")
@admins_only
def keep() -> Response:
    """Chooses for how many years lines are kept."""
    years = request.form.get("years", "")
    if years in {str(each) for each in YEARS_OFFERED}:
        write_choice(cellule(), AuditChoice(years_kept=int(years)), chosen_by=signed_in().id)
        noted(AuditEvent.ADMIN_AUDIT_KEPT, detail=f"{years} years")
        flash(gettext("The choice is kept."))
    return redirect(url_for("audit.show"), 303)


def _chosen() -> dict[str, str]:
    """The filter as it was asked for, for the form and for links."""
    return {name: request.args.get(name, "")[:100] for name in ("source", "kind", "actor", "since", "until")}


def _filter() -> AuditFilter:
    chosen = _chosen()
    until = _day(chosen["until"])
    return AuditFilter(
        source=chosen["source"] if chosen["source"] in SOURCES else "",
        kind=chosen["kind"] if chosen["kind"] in {event.subject for event in AuditEvent} else "",
        actor=chosen["actor"],
        since=None if (since := _day(chosen["since"])) is None else since.timestamp(),
        until=None if until is None else (until + timedelta(days=1)).timestamp(),
    )


def _day(text: str) -> datetime | None:
    """The beginning of a day, UTC; None for what is no day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _older(lines: list[AuditLine]) -> str:
    """The address of the next page; "" on the last one."""
    if len(lines) <= LINES_PER_PAGE:
        return ""
    given = {name: value for name, value in _chosen().items() if value}
    return f"{url_for('audit.show')}?{urlencode({**given, 'before': lines[LINES_PER_PAGE - 1].id})}"
