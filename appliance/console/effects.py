"""The deeds of the keyboard, each with its line in the audit trail before it is done.

A trail that can't be written stops no deed: who must reset a box with damaged storage would be locked out.
"""

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from appliance.console.choice import ConsoleChoice
from appliance.console.menu import Deed, Effect
from appliance.errors import Refusal
from appliance.host import Host
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, write_choice

if TYPE_CHECKING:
    from appliance.console.trial import Trial

CONSOLE = "console"
"""Who did it, in the audit trail."""
_EVENTS = {
    Deed.KEEP_NETWORK: AuditEvent.CONSOLE_NETWORK_CHANGED,
    Deed.RESTART: AuditEvent.CONSOLE_BOX_RESTARTED,
    Deed.TURN_OFF: AuditEvent.CONSOLE_BOX_TURNED_OFF,
    Deed.RESET: AuditEvent.CONSOLE_BOX_RESET,
    Deed.INSTALL: AuditEvent.CONSOLE_DISK_INSTALL,
    Deed.SPEAK: AuditEvent.CONSOLE_LANGUAGE_CHANGED,
}


class Deeds:
    """Performs what `menu` asks for."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._trial: Trial | None = None

    def perform(self, effect: Effect) -> str | None:
        """None when it is done; else the refusal as a sentence."""
        try:
            self._audit(effect)
            self._do(effect)
        except Refusal as refusal:
            return str(refusal)
        except (sqlite3.Error, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _do(self, effect: Effect) -> None:
        match effect.deed:
            case Deed.TRY_NETWORK:
                # here, for it loads all of the keeping, and nearly every start has no trial
                from appliance.console.trial import try_network

                assert effect.network is not None
                self._trial = try_network(self._settings, self._host, effect.network)
            case Deed.KEEP_NETWORK:
                assert self._trial is not None
                self._trial.keep()
            case Deed.UNDO_NETWORK:
                assert self._trial is not None
                self._trial.undo()
            case Deed.RESTART:
                self._host.reboot()
            case Deed.TURN_OFF:
                self._host.power_off()
            case Deed.RESET:
                self._host.factory_reset()
            case Deed.INSTALL:
                self._host.install_to_disk(effect.disk)
            case Deed.SPEAK:
                with closing(open_cellule(self._settings.state_dir)) as db:
                    write_choice(db, ConsoleChoice(language=effect.language), chosen_by=None)

    def _audit(self, effect: Effect) -> None:
        event = _EVENTS.get(effect.deed)
        if event is None:
            return
        tried = self._trial.in_words if self._trial and effect.deed is Deed.KEEP_NETWORK else ""
        detail = tried or effect.language
        try:
            with closing(open_activity(self._settings.state_dir)) as activity:
                record_audit(activity, event, actor=CONSOLE, subject=effect.disk, detail=detail)
        except (Refusal, sqlite3.Error, OSError) as error:
            print(f"audit: {event}: could not be written: {error}", file=sys.stderr)  # noqa: T201 the journal
