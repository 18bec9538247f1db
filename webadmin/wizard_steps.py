"""The steps of the setup. To add one, add an entry, its two functions and a template wizard_<id>.html."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from typing import Any
from zoneinfo import available_timezones

from flask import redirect, request, session, url_for
from flask_babel import gettext, lazy_gettext
from flask_babel.speaklater import LazyString
from werkzeug.wrappers import Response

from appliance.claim import authority_fingerprint, box_names
from appliance.clock import now
from appliance.errors import NotTrusted, Refused
from appliance.host import Host, brokered
from appliance.keeping import (
    ChangeKind,
    backup_key,
    begin_change,
    confirm_backup_key,
    is_backup_key_confirmed,
    pending_change,
)
from appliance.people import AuditEvent, record_audit
from appliance.storage import read_choice, write_choice
from appliance.updating import UpdateChoice, Weekday, Window
from webadmin.database import activity, box_settings, cellule
from webadmin.machine_forms import name_and_time_of
from webadmin.signin import client_address
from webadmin.visitor import signed_in

_TYPED_BACK = "recovery_key_hash"
"""Of the recovery key that was shown last, in the visitor's form session."""


class NotTheRecoveryKey(NotTrusted):
    """What was typed back is not what was shown."""

    code = "not_the_recovery_key"
    http_status = 403


class WindowRefused(Refused):
    """Not a window of hours and days."""

    code = "update_window_refused"


@dataclass(frozen=True)
class Step:
    """`facts` is what its page shows; `take` performs its form: None when done, else what to show instead."""

    id: str
    title: LazyString
    facts: Callable[[], dict[str, Any]]
    take: Callable[[], dict[str, Any] | Response | None]
    needs_machine: bool = True


def _host() -> Host:
    return brokered(box_settings())


def _note(event: AuditEvent, subject: str, detail: str = "") -> None:
    account = signed_in()
    record_audit(
        activity(), event, actor=account.name, address=client_address(), subject=subject, detail=detail
    )


def _recovery_facts() -> dict[str, Any]:
    data = _host().machine_status().data
    return {"data": data, "waits": _TYPED_BACK in session}


def _take_recovery() -> dict[str, Any] | None:
    if not _host().machine_status().data.encrypted:
        return None
    if request.form.get("do") == "make":
        key = _host().make_recovery_key()
        session[_TYPED_BACK] = _hash(key)
        _note(AuditEvent.ADMIN_RECOVERY_KEY_MADE, "recovery-key")
        return {"key": key, "waits": True}
    if _hash(request.form.get("typed", "")) != session.get(_TYPED_BACK):
        raise NotTheRecoveryKey("This is not the recovery key that was shown.", param="typed")
    session.pop(_TYPED_BACK)
    return None


def _hash(key: str) -> str:
    """Of a key of 256 random bits; people write small or capital letters, with or without dashes."""
    plain = "".join(key.lower().split()).replace("-", "")
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def _backup_facts() -> dict[str, Any]:
    settings = box_settings()
    return {"key": backup_key(settings), "confirmed": is_backup_key_confirmed(settings)}


def _take_backup() -> None:
    settings = box_settings()
    if backup_key(settings) is not None:
        confirm_backup_key(settings, request.form.get("typed", "")[:200])
        _note(AuditEvent.ADMIN_BACKUP_CHANGED, "backup-key", "The backup key was typed back.")


def _name_facts() -> dict[str, Any]:
    plan = _host().machine_plan()
    return {"plan": plan, "zones": sorted(available_timezones())}


def _take_name() -> Response | None:
    host = _host()
    before = host.machine_plan()
    plan = name_and_time_of(request.form, before)
    if plan == before:
        return None
    if pending_change(cellule()) is not None:
        return redirect(url_for("machine.change"), 303)
    _note(AuditEvent.ADMIN_MACHINE_CHANGED, "name", f"{plan.hostname}, {plan.timezone}")
    if plan.hostname != before.hostname and request.host.startswith(f"{before.hostname}.local"):
        # the page's own address goes
        begin_change(cellule(), host, plan, ChangeKind.HOSTNAME, by=signed_in().name, at=now())
        return redirect(url_for("machine.change"), 303)
    # nobody is cut off: the box keeps its address, and answers to cellule.local as before
    host.apply_machine(plan)
    return None


def _network_facts() -> dict[str, Any]:
    host = _host()
    status = host.machine_status()
    addresses = [address for card in status.interfaces for address in card.addresses]
    return {
        "plan": host.machine_plan().network,
        "status": status,
        "address": addresses[0] if addresses else "",
    }


def _certificate_facts() -> dict[str, Any]:
    settings = box_settings()
    return {"fingerprint": authority_fingerprint(settings), "names": box_names(settings)}


def _updates_facts() -> dict[str, Any]:
    return {"choice": read_choice(cellule(), UpdateChoice), "weekdays": _weekdays()}


def _take_updates() -> None:
    try:
        window = Window(
            days=frozenset(Weekday(int(day)) for day in request.form.getlist("days")),
            begins=time.fromisoformat(request.form.get("begins", "")),
            ends=time.fromisoformat(request.form.get("ends", "")),
        )
    except ValueError as error:
        raise WindowRefused("Choose at least one day, and two times.", param="days") from error
    before = read_choice(cellule(), UpdateChoice)
    choice = before.model_copy(update={"window": window, "automatic": request.form.get("automatic") == "yes"})
    if choice != before:
        write_choice(cellule(), choice, chosen_by=signed_in().id)
        _note(AuditEvent.ADMIN_UPDATES_CHANGED, "window", _window_in_words(choice))


def _window_in_words(choice: UpdateChoice) -> str:
    window = choice.window
    days = ", ".join(day.name.lower() for day in sorted(window.days))
    how = "automatic" if choice.automatic else "only when an admin installs"
    return f"{how}; {days}; {window.begins:%H:%M} to {window.ends:%H:%M}"


def _weekdays() -> list[tuple[Weekday, str]]:
    names = (
        gettext("Monday"),
        gettext("Tuesday"),
        gettext("Wednesday"),
        gettext("Thursday"),
        gettext("Friday"),
        gettext("Saturday"),
        gettext("Sunday"),
    )
    return list(zip(Weekday, names, strict=True))


def _seen() -> None:
    """A page that only has to be read."""


STEPS = (
    Step("recovery-key", lazy_gettext("Recovery key"), _recovery_facts, _take_recovery),
    Step("backup-key", lazy_gettext("Backup key"), _backup_facts, _take_backup, needs_machine=False),
    Step("name", lazy_gettext("Name and time"), _name_facts, _take_name),
    Step("network", lazy_gettext("Network"), _network_facts, _seen),
    Step("certificate", lazy_gettext("Certificate"), _certificate_facts, _seen),
    Step("updates", lazy_gettext("Updates"), _updates_facts, _take_updates, needs_machine=False),
)
