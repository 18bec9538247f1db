"""What Linux makes of a plan: files of systemd in /run, a link, a name; and nothing twice."""

import os
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from appliance.host import InvalidPlan, MachinePlan, NetworkPlan, Outbound, SlotState
from appliance.host.linux import LinuxHost
from appliance.host.linux.outbound import outbound_rules
from appliance.host.linux.places import Places
from appliance.host.linux.slots import read_slots
from appliance.host.linux.stick import stick_candidates
from tests.host.box import make_box, write
from tests.host.image_root import write_program

PLAN = MachinePlan(
    hostname="archive",
    timezone="Europe/Paris",
    ntp_servers=("192.168.7.2", "time.example.org"),
    network=NetworkPlan(
        interface="enp3s0",
        method="static",
        address=IPv4Interface("192.168.7.20/24"),
        gateway=IPv4Address("192.168.7.1"),
        dns=(IPv4Address("192.168.7.3"),),
    ),
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    for name in ("systemctl", "networkctl", "nft"):
        write_program(tmp_path / "programs" / name, f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/called\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    return make_box(tmp_path)


def called(places: Places) -> list[str]:
    """What was called since the last look."""
    path = places.root.parent / "called"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def a_host(places: Places) -> LinuxHost:
    return LinuxHost(places.root.parent / "key", places.kept, places)


def test_daemons_of_other_users_read_what_the_plan_became(places: Places) -> None:
    """networkd and timesyncd aren't root, and the broker is strict about what it makes (UMask=0077)."""
    former = os.umask(0o077)
    try:
        a_host(places).apply_machine(PLAN)
    finally:
        os.umask(former)
    for path in (
        places.run / "systemd/network/50-cellule.network",
        places.run / "systemd/timesyncd.conf.d/50-cellule.conf",
        places.settled / "localtime",
    ):
        assert path.parent.stat().st_mode & 0o777 == 0o755, path
        assert path.is_symlink() or path.stat().st_mode & 0o777 == 0o644, path


def test_a_plan_becomes_files_of_systemd(places: Places) -> None:
    a_host(places).apply_machine(PLAN)
    unit = (places.run / "systemd/network/50-cellule.network").read_text()
    for line in (
        "Name=enp3s0",
        "Address=192.168.7.20/24",
        "Gateway=192.168.7.1",
        "DNS=192.168.7.3",
        "UseNTP=no",
    ):
        assert line in unit.splitlines()
    assert (places.proc / "sys/kernel/hostname").read_text() == "archive\n"
    assert str((places.settled / "localtime").readlink()) == "/usr/share/zoneinfo/Europe/Paris"
    time = (places.run / "systemd/timesyncd.conf.d/50-cellule.conf").read_text()
    assert "NTP=192.168.7.2 time.example.org\nFallbackNTP=\n" in time


def test_the_network_is_touched_only_when_it_changes(places: Places) -> None:
    host = a_host(places)
    host.apply_machine(PLAN)
    assert "networkctl reload" in called(places)
    host.apply_machine(PLAN.model_copy(update={"outbound": (Outbound(host="192.0.2.9", port=443),)}))
    assert called(places) == ["nft -f -"]


def test_undoing_a_trial_brings_back_every_file(places: Places) -> None:
    host = a_host(places)
    host.apply_machine(MachinePlan(hostname="before"))
    files = [path for path in places.run.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    host.apply_machine(PLAN, trial=True)
    assert {path: path.read_bytes() for path in files} != before
    host.undo_trial()
    assert {path: path.read_bytes() for path in files} == before
    assert (places.proc / "sys/kernel/hostname").read_text() == "before\n"


def test_an_unknown_time_zone_changes_nothing(places: Places) -> None:
    host = a_host(places)
    with pytest.raises(InvalidPlan, match="no time zone"):
        host.apply_machine(PLAN.model_copy(update={"timezone": "Europe/Atlantis"}))
    assert host.machine_plan() == MachinePlan()
    assert (places.proc / "sys/kernel/hostname").read_text() == "cellule\n"


def test_a_broken_record_still_starts_the_box(places: Places) -> None:
    write(places.kept / "machine.json", "{")
    a_host(places)
    assert "DHCP=ipv4" in (places.run / "systemd/network/50-cellule.network").read_text()


def test_a_certificate_on_trial_is_served_and_gone_after_a_restart(places: Places) -> None:
    write(places.own_tls / "tls.crt", "own certificate")
    write(places.own_tls / "tls.key", "own key")
    host = a_host(places)
    served = places.settled / "tls" / "served.crt"
    assert not served.exists(), "nginx started with it: a second layout would be a process and a reload"
    host.serve_certificate("company's", "its key", trial=True)
    assert served.read_text() == "company's"
    host = a_host(places)
    assert served.read_text() == "own certificate"
    host.serve_certificate("company's", "its key")
    a_host(places)
    assert served.read_text() == "company's"
    assert (places.settled / "tls" / "served.key").stat().st_mode & 0o777 == 0o600
    host.serve_certificate(None, None)
    assert served.read_text() == "own certificate"


def test_a_certificate_kept_without_a_trial_is_served_at_once(places: Places) -> None:
    write(places.own_tls / "tls.crt", "own certificate")
    write(places.own_tls / "tls.key", "own key")
    served = places.settled / "tls" / "served.crt"
    a_host(places).serve_certificate("company's", "its key")
    assert served.read_text() == "company's"
    # the next boot: nginx starts with the kept one, and then it is taken away
    served.unlink()
    host = a_host(places)
    assert not served.exists()
    host.serve_certificate(None, None)
    assert served.read_text() == "own certificate"


def test_an_address_is_opened_exactly_and_a_name_by_its_port() -> None:
    rules = outbound_rules(
        MachinePlan(
            outbound=(Outbound(host="192.0.2.9", port=8443), Outbound(host="up.example.org", port=443))
        )
    )
    assert "ip daddr 192.0.2.9 tcp dport 8443 accept" in rules
    assert "allowed_out tcp dport 443 accept" in rules
    assert "allowed_out udp dport 53 accept" in rules


def test_nothing_enabled_opens_nothing_beyond_the_lan() -> None:
    rules = [line for line in outbound_rules(MachinePlan()).splitlines() if line.startswith("add rule")]
    assert rules == [
        "add rule inet cellule allowed_out ip daddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } "
        "udp dport 123 accept"
    ]


@pytest.mark.parametrize(
    ("name", "state", "tries"),
    [
        ("cellule_0.2.0_b.efi", SlotState.GOOD, None),
        ("cellule_0.2.0_b+3.efi", SlotState.TRYING, 3),
        ("cellule_0.2.0_b+1-2.efi", SlotState.TRYING, 1),
        ("cellule_0.2.0_b+0-3.efi", SlotState.BAD, 0),
        ("cellule_0.2.0_b+5.efi", SlotState.GOOD, None),
        ("cellule_0.2.0_b+1-4.efi", SlotState.GOOD, None),
        ("cellule_0.2.0_b+0-5.efi", SlotState.NO_LONGER_STARTS, None),
    ],
)
def test_a_slot_is_what_its_kernel_image_is_called(
    places: Places, name: str, state: SlotState, tries: int | None
) -> None:
    write(places.kernels / name, "")
    write(places.kernels / "new.tmp", "")
    b = read_slots(places)[1]
    assert (b.version, b.state, b.tries_left) == ("0.2.0", state, tries)


def test_only_what_can_be_unplugged_is_a_stick(places: Places) -> None:
    assert list(stick_candidates(places)) == ["sdc"]
    write(places.sys / "block/sdc/sdc1/partition", "1")
    assert list(stick_candidates(places)) == ["sdc1"]


def test_a_kept_network_waits_for_the_next_start_and_one_on_trial_does_not(places: Places) -> None:
    write(places.root / "etc/cellule/README", "")
    host = a_host(places)
    kept = places.root / "etc/cellule/network/50-cellule.network"
    running = places.run / "systemd/network/50-cellule.network"
    host.apply_machine(PLAN)
    before = kept.read_text()
    assert before == running.read_text()
    assert kept.stat().st_mode & 0o777 == 0o644, "networkd reads it as a user of its own"
    host.apply_machine(MachinePlan(), trial=True)
    assert kept.read_text() == before != running.read_text()
    host.keep_trial()
    assert kept.read_text() == running.read_text() != before


def test_what_an_older_release_kept_waits_for_the_next_start_too(places: Places) -> None:
    write(places.root / "etc/cellule/README", "")
    write(places.kept / "machine.json", PLAN.model_dump_json())
    a_host(places)
    assert "Address=192.168.7.20/24" in (places.root / "etc/cellule/network/50-cellule.network").read_text()
