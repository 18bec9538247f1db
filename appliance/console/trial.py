"""A network setting on trial: kept by a key at the box within 90 seconds, else undone.

It is a guarded change like that of the pages: one at a time, undone by the core too should the console die.
Where storage can't be used the broker alone holds it, for the network may be what mends the box.
"""

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep

from sqlite_utils import Database

from appliance.clock import now
from appliance.console.effects import CONSOLE
from appliance.errors import Broken
from appliance.host import Host, MachinePlan, NetworkPlan
from appliance.keeping import (
    ChangeKind,
    ChangeState,
    begin_change,
    confirm_change,
    follow_change,
    last_change,
    pending_change,
    undo_change,
)
from appliance.settings import Settings
from appliance.storage import SchemaTooNew, open_activity, open_cellule

_LOOPBACK = "127.0.0.1"
"""Where somebody at the box itself confirms from."""
_APPLIED_WITHIN_SECONDS = 30.0


class NotApplied(Broken):
    """The change was noted, but didn't take effect."""

    code = "change_not_applied"


@dataclass(frozen=True)
class Trial(ABC):
    """One setting that holds for now."""

    settings: Settings
    host: Host
    network: NetworkPlan

    @abstractmethod
    def keep(self) -> None:
        """For good."""

    @abstractmethod
    def undo(self) -> None:
        """Back to what was kept."""

    @property
    def in_words(self) -> str:
        """For the audit trail."""
        plan = self.network
        if plan.address is None:
            return "DHCP"
        card, gateway = plan.interface or "every card", plan.gateway or "none"
        return f"{plan.address} on {card}, gateway {gateway}, DNS {' '.join(map(str, plan.dns)) or 'none'}"


@dataclass(frozen=True)
class Guarded(Trial):
    """Noted in storage under `change_id`."""

    change_id: str

    def keep(self) -> None:
        with closing(open_cellule(self.settings.state_dir)) as db, closing(self._activity()) as activity:
            confirm_change(
                db,
                activity,
                self.host,
                self.change_id,
                site=_LOOPBACK,
                by=CONSOLE,
                address=CONSOLE,
                at=now(),
            )

    def undo(self) -> None:
        with closing(open_cellule(self.settings.state_dir)) as db, closing(self._activity()) as activity:
            change = pending_change(db)
            if change is not None and change.id == self.change_id:
                undo_change(db, activity, self.host, at=now())

    def _activity(self) -> Database:
        return open_activity(self.settings.state_dir)


@dataclass(frozen=True)
class Bare(Trial):
    """Held by the broker alone."""

    def keep(self) -> None:
        self.host.keep_trial()

    def undo(self) -> None:
        self.host.undo_trial()


def try_network(settings: Settings, host: Host, network: NetworkPlan) -> Trial:
    """Applies it until it is kept or undone. Raises ChangePending, NotApplied and the host's refusals."""
    plan = host.machine_plan().model_copy(update={"network": network})
    try:
        return _guarded(settings, host, plan)
    except (sqlite3.Error, OSError, SchemaTooNew):
        host.apply_machine(plan, trial=True)
        return Bare(settings, host, network)


def _guarded(settings: Settings, host: Host, plan: MachinePlan) -> Guarded:
    with closing(open_cellule(settings.state_dir)) as db:
        change_id = begin_change(db, host, plan, ChangeKind.NETWORK, by=CONSOLE, at=now())
        until = monotonic() + _APPLIED_WITHIN_SECONDS
        while monotonic() < until:
            # the core does this too, every second; here it may not be up yet
            follow_change(settings, host, at=now())
            change = last_change(db)
            if change is None or change.id != change_id or change.state is ChangeState.UNDONE:
                raise NotApplied(change.error if change else "The change was undone.")
            if change.applied_at is not None:
                return Guarded(settings, host, plan.network, change_id)
            sleep(0.2)
    raise NotApplied("The change was noted, but could not be applied.")
