"""What every template may use: the visitor, static files, the navigation, the texts of scripts."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from flask import Flask, current_app, request, url_for
from flask_babel import format_datetime, gettext, lazy_gettext
from flask_babel.speaklater import LazyString

from appliance.people import COMMON, LONGEST_PASSWORD, SHORTEST_PASSWORD
from webadmin import figures
from webadmin.box_in_words import in_words
from webadmin.languages import LANGUAGES, language
from webadmin.refusals import PASSWORD_RULES
from webadmin.visitor import current_account, home

MODELS, ACCESS, BOX = lazy_gettext("Models"), lazy_gettext("Access"), lazy_gettext("The box")


@dataclass(frozen=True)
class Entry:
    """One line of the navigation; `icon` names one of templates/_parts.html.

    Entries of one `group` follow each other under its name; those of none come first: a phone's bar
    shows them beside "More". `also` names further blueprints whose pages belong to the entry.
    """

    endpoint: str
    title: LazyString
    icon: str
    group: LazyString | None = None
    also: tuple[str, ...] = ()
    admins_only: bool = True

    @property
    def is_here(self) -> bool:
        """Whether the page of this request belongs to the entry."""
        return request.blueprint in {self.endpoint.split(".")[0], *self.also}


NAVIGATION = (
    Entry("overview.show", lazy_gettext("Overview"), "overview", also=("wizard",)),
    Entry("chat.page", lazy_gettext("Chat"), "chat", admins_only=False),
    Entry("workers.show", lazy_gettext("Workers"), "workers"),
    Entry(
        "models.show",
        lazy_gettext("Models"),
        "models",
        MODELS,
        also=(
            "model_catalogue",
            "model_gets",
            "model_pins",
            "model_bringing",
            "model_uploads",
            "model_sources",
            "model_handout",
        ),
    ),
    Entry("hardware.show", lazy_gettext("Hardware"), "hardware", MODELS),
    Entry("plan.show", lazy_gettext("Plan"), "plan", MODELS, also=("sizing",)),
    Entry("people.show", lazy_gettext("People"), "people", ACCESS),
    Entry("keys.show", lazy_gettext("API keys"), "keys", ACCESS),
    Entry("audit.show", lazy_gettext("Audit trail"), "audit", ACCESS),
    Entry("machine.show", lazy_gettext("Machine"), "machine", BOX, also=("boot", "reset")),
    Entry("updates.show", lazy_gettext("Updates"), "updates", BOX, also=("updates_upload",)),
    Entry("backups.show", lazy_gettext("Backups"), "backups", BOX, also=("restores",)),
    Entry("support.show", lazy_gettext("Support"), "support", BOX),
)


@lru_cache(maxsize=256)
def _content_hash(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file, which changes with its content, so that browsers may keep it for ever."""
    path = Path(current_app.static_folder or "") / name
    return url_for("static", filename=name, v=_content_hash(path, path.stat().st_mtime_ns))


def navigation() -> list[tuple[LazyString | None, list[Entry]]]:
    """The pages that this visitor may open, by group."""
    account = current_account()
    if account is None or account.must_change_password:
        return []
    entries = (entry for entry in NAVIGATION if account.is_admin or not entry.admins_only)
    return [(group, list(of_group)) for group, of_group in groupby(entries, key=attrgetter("group"))]


def script_texts() -> dict[str, str]:
    """What own scripts say, in the visitor's language; they read it from the page's body."""
    return {
        "copied": gettext("Copied"),
        "copy_failed": gettext("Press Ctrl+C to copy"),
        "offline": gettext("The box does not answer. Trying again…"),
        "signed_out": gettext("Your session has ended. Sign in again."),
        "expired": gettext("expired"),
    }


def page_path() -> str:
    """Where to come back to from a form that is on every page; the answer to a form is not a place."""
    return request.full_path.rstrip("?") if request.method == "GET" else home()


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, for <time datetime>."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def datetime_text(at: float) -> str:
    """Epoch seconds in words, in UTC: what is seen where scripts don't run."""
    return f"{format_datetime(datetime.fromtimestamp(at, UTC), 'medium')} UTC"


def password_policy() -> dict[str, object]:
    """The numbers and words of the password rules, for static/password.js."""
    return {"shortest": SHORTEST_PASSWORD, "longest": LONGEST_PASSWORD, "common": COMMON}


def install(app: Flask) -> None:
    """Makes the names above known to the templates."""

    @app.context_processor
    def names() -> dict[str, Any]:
        return {
            "account": current_account(),
            "asset": asset,
            "datetime_text": datetime_text,
            "endpoints": current_app.view_functions,
            "figures": figures,
            "home": home,
            "in_words": in_words,
            "iso": iso,
            "language": language(),
            "languages": LANGUAGES,
            "navigation": navigation,
            "page_path": page_path,
            "password_policy": password_policy,
            "password_rules": PASSWORD_RULES.items,
            "script_texts": script_texts,
        }
