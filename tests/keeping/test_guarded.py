"""A change that nobody confirms in time is undone, whatever happens to the processes meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.host import MachinePlan, NetworkPlan, Outbound, brokered
from appliance.host.simulated import SimulatedHost
from appliance.keeping import (
    ChangeKind,
    ChangePending,
    ChangeState,
    NotFromThere,
    NothingPending,
    begin_certificate,
    begin_change,
    confirm_change,
    follow_change,
    kind_of,
    last_change,
    pending_change,
    undo_change,
)
from appliance.people import audit_lines
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.netlab import settings_environment
from tests.waiting import wait_until

NEW = MachinePlan(
    network=NetworkPlan(
        method="static", address=IPv4Interface("192.168.7.20/24"), gateway=IPv4Address("192.168.7.1")
    )
)
NEW_SITE = "192.168.7.20"
T = 1_800_000_000.0


class Box:
    """Storage, the simulated host, and a clock that the test moves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.at = T
        self.db: Database = open_cellule(settings.state_dir)
        self.activity: Database = open_activity(settings.state_dir)
        self.host = self.started()

    def started(self) -> SimulatedHost:
        return SimulatedHost(self.settings.wireguard_key_path, self.settings.host_dir, lambda: self.at)

    def change(self, plan: MachinePlan, kind: ChangeKind = ChangeKind.NETWORK) -> str:
        return begin_change(self.db, self.host, plan, kind, by="ada", at=self.at)

    def follow(self, seconds: float = 0) -> str:
        self.at += seconds
        return follow_change(self.settings, self.host, at=self.at)

    def confirm(self, token: str, site: str) -> None:
        confirm_change(
            self.db, self.activity, self.host, token, site=site, by="ada", address="192.168.7.9", at=self.at
        )

    def in_force(self) -> MachinePlan:
        return self.host.box.plan_on_trial or self.host.box.plan

    def events(self) -> list[str]:
        return [line.event for line in audit_lines(self.activity)]

    def state(self) -> ChangeState | None:
        change = last_change(self.db)
        return change.state if change else None


@pytest.fixture
def box(settings: Settings) -> Iterator[Box]:
    box = Box(settings)
    yield box
    box.db.close()
    box.activity.close()


def test_a_confirmed_change_stays(box: Box) -> None:
    token = box.change(NEW)
    assert box.in_force() == MachinePlan(), "the answer must still leave by the old address"
    box.follow(1)
    assert box.in_force() == NEW
    box.confirm(token, NEW_SITE)
    box.follow(3600)
    assert box.host.machine_plan() == NEW
    assert (box.state(), box.events()) == (ChangeState.CONFIRMED, ["admin:change:confirmed"])


def test_without_a_confirmation_it_is_undone_after_ninety_seconds(box: Box) -> None:
    token = box.change(NEW)
    box.follow(1)
    box.follow(89.9)
    assert box.in_force() == NEW
    assert "undone" in box.follow(0.1)
    assert box.in_force() == MachinePlan()
    assert (box.state(), box.events()) == (ChangeState.UNDONE, ["box:change:undone"])
    with pytest.raises(NothingPending):
        box.confirm(token, NEW_SITE)


@pytest.mark.parametrize("site", ["192.0.2.10", "192.168.7.21"])
def test_the_old_address_cannot_confirm(box: Box, site: str) -> None:
    token = box.change(NEW)
    box.follow(1)
    with pytest.raises(NotFromThere, match=NEW_SITE):
        box.confirm(token, site)
    assert box.state() is ChangeState.PENDING


def test_before_it_is_applied_nobody_can_confirm(box: Box) -> None:
    token = box.change(NEW)
    with pytest.raises(NotFromThere):
        box.confirm(token, NEW_SITE)


def test_a_name_is_confirmed_by_the_new_name_or_an_address_not_the_old_name(box: Box) -> None:
    token = box.change(MachinePlan(hostname="archive"), ChangeKind.HOSTNAME)
    box.follow(1)
    with pytest.raises(NotFromThere, match=r"archive\.local"):
        box.confirm(token, "cellule.local")
    box.confirm(token, "archive.local")
    assert box.host.machine_plan().hostname == "archive"


def test_another_change_is_not_confirmed_with_this_one(box: Box) -> None:
    box.change(NEW)
    box.follow(1)
    with pytest.raises(NothingPending):
        box.confirm("guess", NEW_SITE)


def test_a_confirmation_that_comes_too_late_undoes_it_even_without_the_core(box: Box) -> None:
    token = box.change(NEW)
    box.follow(1)
    box.at += 90
    with pytest.raises(NothingPending, match="Time was up"):
        box.confirm(token, NEW_SITE)
    assert box.in_force() == MachinePlan()


def test_there_is_one_change_at_a_time(box: Box) -> None:
    box.change(NEW)
    with pytest.raises(ChangePending):
        box.change(MachinePlan(hostname="other"), ChangeKind.HOSTNAME)
    with pytest.raises(ChangePending):
        begin_certificate(box.db, box.host, "certificate", "key", by="ada", at=box.at)
    undo_change(box.db, box.activity, box.host, at=box.at)
    box.change(MachinePlan(hostname="other"), ChangeKind.HOSTNAME)


def test_a_power_cut_undoes_it_at_the_next_start(box: Box) -> None:
    token = box.change(NEW)
    box.follow(1)
    box.at += 20
    box.host = box.started()
    box.host.reboot()
    assert box.in_force() == MachinePlan(), "the host starts with what was confirmed"
    with pytest.raises(NothingPending):
        box.confirm(token, NEW_SITE)
    assert (box.state(), pending_change(box.db)) == (ChangeState.UNDONE, None)


def test_a_broker_that_restarted_makes_the_confirmation_fail_rather_than_lie(box: Box) -> None:
    token = box.change(NEW)
    box.follow(1)
    box.host = box.started()
    with pytest.raises(Exception, match="on trial"):
        box.confirm(token, NEW_SITE)
    assert (box.state(), box.host.machine_plan()) == (ChangeState.UNDONE, MachinePlan())
    assert box.events() == ["box:change:undone"]


def test_a_certificate_is_served_at_once_and_given_back(box: Box) -> None:
    begin_certificate(box.db, box.host, "certificate", "key", by="ada", at=box.at)
    assert box.host.box.certificates_on_trial
    stored = (box.settings.state_dir / "cellule.db").read_bytes()
    wal = box.settings.state_dir / "cellule.db-wal"
    assert b"certificate-key" not in stored + (wal.read_bytes() if wal.exists() else b"")
    box.follow(90)
    assert box.host.box.certificates_on_trial is None
    assert box.state() is ChangeState.UNDONE


def test_only_what_could_cut_off_is_guarded() -> None:
    before = MachinePlan()
    assert kind_of(before, NEW) is ChangeKind.NETWORK
    assert kind_of(before, MachinePlan(hostname="archive")) is ChangeKind.HOSTNAME
    assert (
        kind_of(before, MachinePlan(outbound=(Outbound(host="192.0.2.1", port=443),))) is ChangeKind.OUTBOUND
    )
    assert kind_of(before, MachinePlan(timezone="Europe/Paris", ntp_servers=("192.0.2.1",))) is None


def test_a_core_killed_in_the_countdown_is_made_up_for(settings: Settings, tmp_path: Path) -> None:
    """Real processes: the broker, and a core that is killed; the next one undoes what is overdue by then."""
    variables = {**os.environ, **settings_environment(settings)}
    broker = subprocess.Popen([sys.executable, "-m", "appliance.host"], env=variables)
    core_does = (
        "import time; from appliance.settings import load_settings; from appliance.host import brokered\n"
        "from appliance.keeping import follow_change\n"
        "s = load_settings()\n"
        "while True: follow_change(s, brokered(s), at=time.time()); time.sleep(0.05)\n"
    )
    started = [broker]
    try:
        wait_until(settings.broker_socket.is_socket, within_seconds=20, what="the broker listens")
        core = subprocess.Popen([sys.executable, "-c", core_does], env=variables)
        started.append(core)
        host = brokered(settings)
        with open_cellule(settings.state_dir) as db:
            begin_change(db, host, NEW, ChangeKind.NETWORK, by="ada", at=time.time())
            wait_until(
                lambda: (change := pending_change(db)) and change.applied_at,
                within_seconds=20,
                what="the change is on trial",
            )
            core.send_signal(signal.SIGKILL)
            core.wait(10)
            assert host.machine_status().interfaces[0].addresses == (NEW.network.address,)
            follow_change(settings, host, at=time.time() + 90)
            assert pending_change(db) is None
        assert host.machine_status().interfaces[0].addresses != (NEW.network.address,)
    finally:
        for process in started:
            process.kill()
            process.wait(10)
