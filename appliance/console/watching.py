"""Collects the facts, each source on its own: one that is away or damaged takes none of the others along.

Storage is read without creating or migrating anything: the console starts before everything else. The broker
is asked on a thread of its own, for it does one thing at a time and may be busy for a minute.
"""

import logging
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from appliance.accounting import node_overviews, pool_overview
from appliance.accounting.nodes import NodeState
from appliance.boot import places, read_word
from appliance.boot.breadcrumbs import Boot, Outcome, read_boots
from appliance.boot.checks import CHECKS
from appliance.boot.given_up import given_up_releases
from appliance.boot.places import running_now
from appliance.boot.room_and_clock import is_wrong_clock, room_when_short
from appliance.claim import is_claimed, read_claim_code
from appliance.claim.names import box_names
from appliance.clock import Clock, now
from appliance.console.choice import console_language
from appliance.console.facts import BootStep, Facts, Fleet, StepState, Told, Trouble
from appliance.console.fingerprints import served_fingerprints
from appliance.enrolment.lan import lan_addresses
from appliance.errors import Refusal
from appliance.host import Host, Unsupported
from appliance.host.machine import (
    DiskInstallState,
    DiskInstallStatus,
    InstallState,
    InstallStatus,
    MachinePlan,
    MachineStatus,
    Slot,
)
from appliance.settings import BOX_NODE, Settings

log = logging.getLogger("cellule.console")
LOOK_SECONDS = 2.0
LOOK_WHILE_BOOTING_SECONDS = 0.5
ASK_SECONDS = 10.0
ASK_WHILE_BUSY_SECONDS = 1.0
TROUBLE_FILE = Path("/run/cellule-data/trouble")


@dataclass(frozen=True)
class Said:
    """What the broker said last; `away` when it didn't."""

    away: bool = False
    machine: MachineStatus | None = None
    plan: MachinePlan | None = None
    slots: tuple[Slot, ...] = ()
    install: InstallStatus | None = None
    disk_install: DiskInstallStatus | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way that people watch."""
        return _is_copying(self.disk_install) or (
            self.install is not None and self.install.state is InstallState.INSTALLING
        )


class Watch:
    """`facts` is the newest picture; those given to `tell` are called, on a thread of ours."""

    def __init__(
        self,
        settings: Settings,
        host: Host,
        *,
        clock: Clock = now,
        trouble_file: Path = TROUBLE_FILE,
    ) -> None:
        self._settings, self._host, self._clock = settings, host, clock
        self._told: list[Callable[[], None]] = []
        self._trouble_file = trouble_file
        self._said = Said(away=True)
        self._hurry = {name: threading.Event() for name in ("look", "ask")}
        self.facts = Facts()

    def tell(self, changed: Callable[[], None]) -> None:
        """Before `start`: `changed` is called when `facts` are others."""
        self._told.append(changed)

    def start(self) -> None:
        """Begins, on two daemon threads."""
        for run in (self._keep_looking, self._keep_asking):
            threading.Thread(target=run, daemon=True).start()

    def hurry(self) -> None:
        """Something was just done: look and ask at once."""
        for event in self._hurry.values():
            event.set()

    def _keep_looking(self) -> None:
        while True:
            self._hurry["look"].clear()
            try:
                seen = with_said(look(self._settings, self._clock(), self._trouble_file), self._said)
            except Exception:
                # what nobody foresaw must not freeze the screen: the next look may go well
                log.exception("the state of the box could not be read")
                seen = self.facts
            if seen != self.facts:
                self.facts = seen
                for changed in self._told:
                    changed()
            self._hurry["look"].wait(LOOK_WHILE_BOOTING_SECONDS if seen.is_booting else LOOK_SECONDS)

    def _keep_asking(self) -> None:
        while True:
            self._hurry["ask"].clear()
            try:
                self._said = ask(self._host, self._said)
            except Exception:
                self._said = replace(self._said, away=True)
                log.exception("the broker's answer could not be read")
            self._hurry["look"].set()
            quick = self._said.is_busy or self._said.away
            self._hurry["ask"].wait(ASK_WHILE_BUSY_SECONDS if quick else ASK_SECONDS)


def ask(host: Host, before: Said) -> Said:
    """Everything the broker knows. What was known of a disk install stays, should it be asked away.

    While that goes on, and when it ends, it alone is asked for: after the stick was pulled out the other
    answers may never come.
    """
    try:
        install = host.disk_install_status()
        before, known = replace(before, disk_install=install), before.disk_install
        if _is_copying(install) or (_is_copying(known) and install != known):
            return replace(before, away=False)
        return Said(
            machine=host.machine_status(),
            plan=host.machine_plan(),
            slots=host.slots(),
            install=host.install_status(),
            disk_install=install,
        )
    except Unsupported:
        return Said()
    except Refusal:
        return replace(before, away=True)


def _is_copying(install: DiskInstallStatus | None) -> bool:
    return install is not None and install.state in {DiskInstallState.COPYING, DiskInstallState.VERIFYING}


def with_said(facts: Facts, said: Said) -> Facts:
    """The facts with what the broker said, and the troubles that follow from it."""
    machine = said.machine
    told = facts.told
    if said.away and (not facts.is_booting or _is_copying(said.disk_install)):
        told += (Told(Trouble.BROKER_AWAY),)
    if machine is not None and not facts.urls:
        plugged = any(card.carrier for card in machine.interfaces)
        told += (Told(Trouble.NO_ADDRESS if plugged else Trouble.NO_CABLE),)
    if machine is not None and machine.data.size_bytes and not machine.data.encrypted:
        told += (Told(Trouble.NOT_ENCRYPTED),)
    if machine is not None and machine.data.encrypted and not machine.data.tpm_bound:
        told += (Told(Trouble.NOT_BOUND),)
    return replace(
        facts,
        told=told,
        name=machine.hostname if machine and machine.hostname else facts.name,
        machine=machine,
        plan=said.plan,
        slots=said.slots,
        install=said.install,
        disk_install=said.disk_install,
    )


def look(settings: Settings, at: float, trouble_file: Path) -> Facts:
    """Everything that needs no broker. What can't be read is None or empty."""
    where, running = places(settings), running_now(settings)
    facts = Facts(
        name=socket.gethostname() if settings.appliance else "cellule",
        version=running.version,
        slot=running.slot,
        word=read_word(where.verdict),
        told=_clock_trouble(at),
    )
    if where.is_mounted_separately and not where.data.is_mount():
        if trouble_file.exists():
            told = (*facts.told, Told(Trouble.DATA_MISSING, _read(trouble_file)))
            # without data there is no certificate: the front says the same by plain HTTP
            facts = replace(facts, told=told, urls=tuple(f"http://{each}/" for each in lan_addresses()))
        return replace(facts, steps=boot_steps(None))
    boot = next((b for b in reversed(read_boots(where.breadcrumbs)) if b.boot_id == running.boot_id), None)
    facts = replace(
        facts,
        steps=boot_steps(boot) if boot or settings.appliance else (),
        told=facts.told + _room_trouble(where.data),
    )
    return _with_storage(_with_addresses(facts, settings), settings, at)


def boot_steps(boot: Boot | None) -> tuple[BootStep, ...]:
    """The checks of the boot, done or not; the first that is not done runs."""
    steps: list[BootStep] = []
    for check in CHECKS:
        crumb = boot.last(check.name) if boot else None
        if crumb is not None:
            state = StepState.DONE if crumb.outcome is Outcome.OK else StepState.FAILED
            steps.append(BootStep(check.name, state, crumb.sentence))
        else:
            waits = any(step.state in {StepState.RUNNING, StepState.FAILED} for step in steps)
            steps.append(BootStep(check.name, StepState.WAITING if waits else StepState.RUNNING))
    return tuple(steps)


def _with_addresses(facts: Facts, settings: Settings) -> Facts:
    own = settings.listen_host
    addresses = lan_addresses() if own == "0.0.0.0" else (own,)  # noqa: S104
    scheme, usual = ("https", 443) if settings.tls else ("http", 80)
    port = "" if settings.port == usual else f":{settings.port}"
    try:
        names = box_names(settings) if settings.tls and addresses else ()
    except (Refusal, OSError):
        names = ()
    urls = tuple(f"{scheme}://{host}{port}/" for host in (*names[:1], *addresses, *names[1:]))
    certificate, authority = served_fingerprints(settings)
    scan = f"{scheme}://{addresses[0]}{port}/" if addresses else ""
    return replace(facts, urls=urls, scan_url=scan, certificate=certificate, authority=authority)


def _with_storage(facts: Facts, settings: Settings, at: float) -> Facts:
    damaged = []
    try:
        with closing(_opened(settings.state_dir / "cellule.db")) as db:
            claimed = is_claimed(db)
            story = next((each.story for each in given_up_releases(db) if each.seen_at is None), None)
            workers = dict(db.execute("SELECT id, name FROM workers WHERE state = 'approved'").fetchall())
            facts = replace(
                facts,
                claimed=claimed,
                claim_code="" if claimed else read_claim_code(settings) or "",
                story=story,
                language=console_language(db),
            )
    except (sqlite3.Error, OSError, ValueError) as error:
        damaged += _damage("cellule.db", error)
        workers = {}
    try:
        with closing(_opened(settings.state_dir / "activity.db")) as activity:
            facts = replace(facts, fleet=_fleet(activity, workers, at))
    except (sqlite3.Error, OSError, ValueError) as error:
        damaged += _damage("activity.db", error)
    return replace(facts, told=facts.told + tuple(damaged))


def _opened(path: Path) -> Database:
    # never created: a box without its data must not look like a new one
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
    return Database(connection, execute_plugins=False)


def _damage(name: str, error: Exception) -> list[Told]:
    """Not there yet, locked, or of another version are no damage."""
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    return [Told(Trouble.STORAGE_DAMAGED, name)] if damaged else []


def _fleet(activity: Database, workers: dict[str, str], at: float) -> Fleet:
    nodes = node_overviews(activity, workers, at)
    box = next(node for node in nodes if node.id == BOX_NODE)
    pool = pool_overview(activity, at)
    ready = [node for node in nodes if node.state is NodeState.READY]
    return Fleet(
        models=tuple(dict.fromkeys(engine.model for engine in box.engines if engine.ready and box in ready)),
        demo=box.demo,
        workers=len(workers),
        workers_ready=sum(node.id != BOX_NODE for node in ready),
        requests=sum(node.requests_last_hour for node in nodes),
        waiting=pool.queue_length if pool.reporting else None,
    )


def _clock_trouble(at: float) -> tuple[Told, ...]:
    if not is_wrong_clock(at):
        return ()
    return (Told(Trouble.CLOCK_WRONG, f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"),)


def _room_trouble(folder: Path) -> tuple[Told, ...]:
    free = room_when_short(folder)
    return () if free is None else (Told(Trouble.DISK_FULL, f"{free // 2**20} MiB"),)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
