"""What the box's verbs promise, on the simulated twin and on Linux alike.

Linux acts on files of the test's; systemctl and nft are written down instead of called.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.host import InvalidPlan, MachinePlan, NetworkPlan, NotFound, SlotState, Unsupported
from appliance.host.contract import Host
from appliance.host.linux import LinuxHost
from appliance.host.simulated import SimulatedHost
from tests.host.box import make_box
from tests.host.image_root import write_program

STATIC = NetworkPlan(
    method="static", address=IPv4Interface("192.168.7.20/24"), gateway=IPv4Address("192.168.7.1")
)
KEPT = MachinePlan(hostname="kept", timezone="Europe/Paris")
TRIED = MachinePlan(hostname="tried", network=STATIC)


@pytest.fixture(params=["simulated", "linux"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Host]]:
    """Starts the host, again and again on the same files, as the broker does."""
    if request.param == "simulated":
        yield lambda: SimulatedHost(tmp_path / "key", tmp_path / "host")
        return
    places = make_box(tmp_path)
    for name in ("systemctl", "nft"):
        write_program(tmp_path / "programs" / name, f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/called\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    write_program(tmp_path / "programs" / "networkctl", "#!/bin/sh\n")
    yield lambda: LinuxHost(tmp_path / "key", tmp_path / "kept", places)


def test_a_plan_is_kept_over_restarts(start: Callable[[], Host]) -> None:
    host = start()
    assert host.machine_plan() == MachinePlan()
    host.apply_machine(KEPT)
    assert start().machine_plan() == KEPT


def test_what_is_on_trial_is_not_kept_until_it_is(start: Callable[[], Host]) -> None:
    host = start()
    host.apply_machine(KEPT)
    host.apply_machine(TRIED, trial=True)
    assert host.machine_plan() == KEPT
    host.keep_trial()
    assert host.machine_plan() == TRIED
    assert start().machine_plan() == TRIED
    with pytest.raises(NotFound):
        host.keep_trial()


def test_a_restart_ends_the_trial(start: Callable[[], Host]) -> None:
    host = start()
    host.apply_machine(KEPT)
    host.apply_machine(TRIED, trial=True)
    host = start()
    assert host.machine_plan() == KEPT
    with pytest.raises(NotFound):
        host.keep_trial()
    host.undo_trial()


def test_the_running_slot_is_known(start: Callable[[], Host]) -> None:
    a, b = start().slots()
    assert (a.name, a.version, a.state, a.booted) == ("a", "0.1.0", SlotState.GOOD, True)
    assert (b.name, b.version, b.state, b.booted) == ("b", "", SlotState.EMPTY, False)


def test_the_twin_is_not_installed_over_itself_or_nothing(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path / "key", tmp_path / "host")
    with pytest.raises(InvalidPlan):
        host.install_to_disk("sda")
    with pytest.raises(NotFound):
        host.install_to_disk("sdz")


@pytest.mark.parametrize(
    "network",
    [
        {"method": "static"},
        {"method": "static", "address": "192.168.7.0/24"},
        {"method": "static", "address": "192.168.7.255/24"},
        {"method": "static", "address": "192.168.7.20/31"},
        {"method": "static", "address": "127.0.0.1/8"},
        {"method": "static", "address": "192.168.7.20/24", "gateway": "192.168.8.1"},
        {"method": "static", "address": "192.168.7.20/24", "gateway": "192.168.7.20"},
        {"method": "dhcp", "address": "192.168.7.20/24"},
        {"interface": "eth0\nDHCP=no"},
        {"dns": ["not an address"]},
    ],
)
def test_a_network_that_cannot_work_is_no_plan(network: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NetworkPlan.model_validate(network)


@pytest.mark.parametrize(
    "plan",
    [
        {"hostname": "two.labels"},
        {"hostname": "-begins"},
        {"hostname": "x" * 64},
        {"timezone": "../../etc/shadow"},
        {"ntp_servers": ["time.example\nFallbackNTP=x"]},
        {"outbound": [{"host": "a b", "port": 443}]},
        {"outbound": [{"host": "example.org", "port": 0}]},
    ],
)
def test_words_that_would_escape_a_file_are_no_plan(plan: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MachinePlan.model_validate(plan)


def test_elsewhere_every_verb_is_refused(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path / "key", tmp_path / "memory")
    for verb in (host.machine_status, host.slots, host.reboot, host.factory_reset, host.mount_stick):
        with pytest.raises(Unsupported, match="not a Cellule appliance"):
            verb()
