"""What the console finds out by itself: each source on its own, nothing created, every trouble named."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.boot.places import places
from appliance.claim import read_claim_code
from appliance.console import watching
from appliance.console.facts import BootStep, Facts, StepState, Told, Trouble
from appliance.console.menu import Menu, Page
from appliance.console.screen import Size, draw
from appliance.console.watching import Said, ask, look, with_said
from appliance.enrolment.lan import lan_addresses
from appliance.errors import Refusal
from appliance.host.contract import HostUnavailable
from appliance.host.machine import DiskInstallState, DiskInstallStatus, MachineStatus
from appliance.host.simulated import SimulatedHost
from appliance.settings import Settings

NOWHERE = Path("/nonexistent")


def troubles(facts: Facts) -> set[Trouble]:
    return {told.trouble for told in facts.told}


def test_a_box_before_its_first_preparation_is_left_as_it_is(tmp_path: Path) -> None:
    facts = look(Settings(state_dir=tmp_path / "none"), time.time(), NOWHERE)
    assert (facts.claimed, facts.fleet, facts.claim_code) == (None, None, "")
    assert not (tmp_path / "none").exists()


def test_a_box_is_read_without_being_changed(box: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in box.state_dir.rglob("*.db")}
    facts = look(box, time.time(), NOWHERE)
    assert facts.claimed is False
    assert facts.claim_code == read_claim_code(box)
    assert facts.fleet and facts.fleet.waiting is None
    assert len(facts.certificate) == len(facts.authority) == 64
    assert {path: path.stat().st_mtime_ns for path in box.state_dir.rglob("*.db")} == before


def test_a_missing_data_partition_is_said_and_shows_no_new_box(
    box: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trouble = tmp_path / "trouble"
    where = replace(places(box), data=tmp_path, is_mounted_separately=True)
    monkeypatch.setattr(watching, "places", lambda _: where)
    # before the mount was tried, nothing is wrong yet
    assert troubles(look(box, time.time(), trouble)) == set()
    trouble.write_text("The data partition is damaged: bad magic number.\n")
    facts = look(box, time.time(), trouble)
    assert facts.told == (Told(Trouble.DATA_MISSING, "The data partition is damaged: bad magic number."),)
    assert (facts.claimed, facts.claim_code) == (None, "")
    assert facts.urls == tuple(f"http://{address}/" for address in lan_addresses())


def test_a_wrong_clock_and_a_full_disk_are_said(box: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Told(Trouble.CLOCK_WRONG, "1970-01-02") in look(box, 90_000.0, NOWHERE).told
    real = os.statvfs(box.state_dir)
    full = os.statvfs_result((*real[:4], 1, *real[5:]))
    monkeypatch.setattr("appliance.boot.room_and_clock.os.statvfs", lambda _: full)
    assert troubles(look(box, time.time(), NOWHERE)) == {Trouble.DISK_FULL}


@pytest.mark.parametrize("name", ["cellule.db", "activity.db"])
def test_a_damaged_file_takes_nothing_else_along(box: Settings, name: str) -> None:
    (box.state_dir / name).write_bytes(b"\xff" * 8192)
    facts = look(box, time.time(), NOWHERE)
    assert facts.told == (Told(Trouble.STORAGE_DAMAGED, name),)
    assert (facts.claimed is None) == (name == "cellule.db")
    assert (facts.fleet is None) == (name == "activity.db")
    assert facts.urls and facts.certificate


class Away(SimulatedHost):
    def machine_status(self) -> MachineStatus:
        raise HostUnavailable("away", retry_after_seconds=1)

    def disk_install_status(self) -> DiskInstallStatus:
        raise HostUnavailable("away", retry_after_seconds=1)


def test_what_was_known_stays_while_the_broker_is_away(box: Settings, machine: SimulatedHost) -> None:
    known = ask(machine, Said())
    assert known.machine and known.plan and not known.away
    away = ask(Away(box.secrets_dir / "wireguard.key", box.host_dir), known)
    assert away.away and away.machine == known.machine
    assert troubles(with_said(Facts(urls=("x",)), away)) == {Trouble.BROKER_AWAY}


def test_while_a_disk_is_copied_to_nothing_else_is_asked_and_its_end_is_told_at_once(
    box: Settings, machine: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stick may be pulled out: what the broker would read for its other answers is gone then."""

    def gone() -> MachineStatus:
        raise AssertionError("an answer that may never come")

    known = ask(machine, Said())
    monkeypatch.setattr(machine, "machine_status", gone)
    copying = DiskInstallStatus(state=DiskInstallState.COPYING, disk="sdb", percent=2)
    failed = DiskInstallStatus(state=DiskInstallState.FAILED, disk="sdb", error="The stick is gone.")
    for install in (copying, failed):
        monkeypatch.setattr(machine, "disk_install_status", lambda install=install: install)
        known = ask(machine, known)
        assert (known.away, known.disk_install) == (False, install)
        assert known.machine is not None


def test_a_broker_that_dies_over_an_install_is_said_where_its_progress_was(
    box: Settings, machine: SimulatedHost
) -> None:
    copying = DiskInstallStatus(state=DiskInstallState.COPYING, disk="sdb", percent=2)
    known = replace(ask(machine, Said()), disk_install=copying)
    away = ask(Away(box.secrets_dir / "wireguard.key", box.host_dir), known)
    facts = with_said(Facts(steps=(BootStep("pool", StepState.RUNNING),)), away)
    shown = "\n".join(draw(facts, Menu(Page.DISK_PROGRESS), Size(80, 24), "en"))
    assert "The install broke off" in shown and "Copying" not in shown


def test_a_disk_that_is_not_encrypted_and_a_network_that_is_not_there_are_said(
    machine: SimulatedHost,
) -> None:
    status = machine.machine_status()
    plain = status.model_copy(update={"data": status.data.model_copy(update={"encrypted": False})})
    facts = with_said(Facts(urls=("x",)), Said(machine=plain))
    assert troubles(facts) == {Trouble.NOT_ENCRYPTED}
    unbound = status.model_copy(update={"data": status.data.model_copy(update={"tpm_bound": False})})
    assert troubles(with_said(Facts(urls=("x",)), Said(machine=unbound))) == {Trouble.NOT_BOUND}
    assert troubles(with_said(Facts(), Said(machine=status))) == {Trouble.NO_ADDRESS}
    unplugged = status.model_copy(
        update={"interfaces": tuple(card.model_copy(update={"carrier": False}) for card in status.interfaces)}
    )
    assert troubles(with_said(Facts(), Said(machine=unplugged))) == {Trouble.NO_CABLE}
    assert issubclass(HostUnavailable, Refusal)
