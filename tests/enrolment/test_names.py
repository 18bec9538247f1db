"""People reach the box as cellule.local, or by its own name when another machine of the LAN has that one."""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.claim.names import box_names, tell_names, unique_name
from appliance.enrolment.announcing import host_name
from appliance.host.machine import MachinePlan
from appliance.host.simulated import SimulatedHost
from appliance.settings import Settings
from tests.console.conftest import brokering
from tests.netlab import Lab
from tests.waiting import wait_until

pytestmark = pytest.mark.root

# asks again soon, so that a test need not wait for minutes
BOX = """
import signal, sys, time
from pathlib import Path
from appliance.enrolment.announcing import Announcer
from appliance.settings import Settings
settings = Settings(state_dir=Path(sys.argv[1]), listen_host="0.0.0.0", port=8443, tls=True)
given = Path(sys.argv[1]) / "given"
announcer = Announcer(
    settings,
    given_name=lambda: given.read_text() if given.exists() else "",
    retry_seconds=(0.2, 2.0),
    recheck_seconds=1.0,
)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    while True:
        announcer.refresh()
        time.sleep(0.1)
finally:
    announcer.close()
"""
OTHER = """
import signal, socket, sys, time
from zeroconf import IPVersion, ServiceInfo, Zeroconf
zeroconf = Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
info = ServiceInfo("_ipp._tcp.local.", "printer._ipp._tcp.local.", port=631, server="cellule.local.",
    parsed_addresses=[sys.argv[1]])
zeroconf.register_service(info, cooperating_responders=True)
print("there", flush=True)
try:
    signal.pause()
finally:
    zeroconf.close()
"""
RESOLVE = """
import json, sys
from tests.enrolment.test_names import resolve
print(json.dumps(resolve(sys.argv[1], sys.argv[2])))
"""


def resolve(name: str, own_address: str) -> list[str]:
    """Who answers a one-shot multicast DNS query (RFC 6762, section 5.1), as a simple resolver asks it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    found: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own_address))
        asking.settimeout(0.6)
        asking.sendto(query, ("224.0.0.251", 5353))
        try:
            while True:
                found |= set(addresses_in(asking.recv(9000)))
        except TimeoutError:
            return sorted(found)


def addresses_in(message: bytes) -> Iterator[str]:
    """The A records among the answers (RFC 1035, section 4.1)."""
    _, _, questions, answers, _, _ = struct.unpack("!6H", message[:12])
    at = 12
    for _ in range(questions):
        at = after_name(message, at) + 4
    for _ in range(answers):
        at = after_name(message, at)
        kind, _, _, length = struct.unpack("!2HIH", message[at : at + 10])
        if kind == 1:
            yield socket.inet_ntoa(message[at + 10 : at + 14])
        at += 10 + length


def after_name(message: bytes, at: int) -> int:
    while message[at] and message[at] < 0xC0:
        at += message[at] + 1
    return at + (1 if not message[at] else 2)


def asked(lab: Lab, name: str) -> list[str]:
    done = lab.run("pc", [sys.executable, "-c", RESOLVE, name, lab.address("pc")])
    answer: list[str] = json.loads(done.stdout)
    return answer


def box_settings(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    return Settings(state_dir=folder, tls=True)


def start_box(lab: Lab, settings: Settings, name: str = "box") -> subprocess.Popen[bytes]:
    return lab.popen(name, [sys.executable, "-c", BOX, str(settings.state_dir)])


def start_other(lab: Lab) -> subprocess.Popen[bytes]:
    other = lab.popen("other", [sys.executable, "-c", OTHER, lab.address("other")])
    wait_until(lambda: "there" in lab.log(other), within_seconds=10, what="the other host answers")
    return other


def told(settings: Settings, *names: str) -> bool:
    return (settings.run_dir / "announced-names.json").exists() and box_names(settings) == names


def test_a_resolver_of_the_lan_finds_the_box_by_both_names(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "box")
    unique = unique_name(settings)
    with Lab("box", "pc") as lab:
        start_box(lab, settings)
        wait_until(lambda: told(settings, "cellule.local", unique), within_seconds=15, what="names told")
        assert asked(lab, "cellule.local") == [lab.address("box")]
        assert asked(lab, unique) == [lab.address("box")]
        assert asked(lab, "cellule-nobody.local") == []
        # an admin names the box: the new name answers too
        (settings.state_dir / "given").write_text("accueil.local")
        names = ("accueil.local", "cellule.local", unique)
        wait_until(lambda: told(settings, *names), within_seconds=15, what="the given name told")
        assert asked(lab, "accueil.local") == [lab.address("box")]


def test_a_name_that_another_host_has_is_left_to_it_until_it_leaves(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "box")
    unique = unique_name(settings)
    with Lab("box", "pc", "other") as lab:
        other = start_other(lab)
        start_box(lab, settings)
        wait_until(lambda: told(settings, unique), within_seconds=15, what="only the unique name told")
        assert asked(lab, "cellule.local") == [lab.address("other")]
        assert asked(lab, unique) == [lab.address("box")]
        lab.stop(other)
        wait_until(lambda: told(settings, "cellule.local", unique), within_seconds=15, what="name taken")
        assert asked(lab, "cellule.local") == [lab.address("box")]


def test_a_name_is_given_up_when_another_host_turns_up_with_it(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "box")
    unique = unique_name(settings)
    with Lab("box", "pc", "other") as lab:
        start_box(lab, settings)
        wait_until(lambda: told(settings, "cellule.local", unique), within_seconds=15, what="names told")
        start_other(lab)
        wait_until(lambda: told(settings, unique), within_seconds=15, what="the name given up")
        assert asked(lab, "cellule.local") == [lab.address("other")]


def test_of_two_boxes_started_together_one_gets_the_name(tmp_path: Path) -> None:
    boxes = [box_settings(tmp_path / name) for name in ("one", "two")]
    with Lab("one", "two", "pc") as lab:
        for name, settings in zip(("one", "two"), boxes, strict=True):
            start_box(lab, settings, name)

        def settled() -> bool:
            return sorted(told(box, "cellule.local", unique_name(box)) for box in boxes) == [False, True]

        wait_until(
            lambda: all((box.run_dir / "announced-names.json").exists() for box in boxes) and settled(),
            within_seconds=30,
            what="one of them has the name",
        )
        wait_until(lambda: len(asked(lab, "cellule.local")) == 1, within_seconds=10, what="one answers")
        assert {unique_name(box) for box in boxes} <= {name for box in boxes for name in box_names(box)}


def test_before_anything_is_announced_both_names_are_hoped_for(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "box")
    assert box_names(settings) == ("cellule.local", unique_name(settings))
    settings.run_dir.mkdir()
    tell_names(settings, (unique_name(settings),))
    assert box_names(settings) == (unique_name(settings),)
    (settings.run_dir / "announced-names.json").write_text("half a fi")
    assert box_names(settings) == ("cellule.local", unique_name(settings))


def test_the_given_name_is_the_one_that_the_broker_keeps(tmp_path: Path) -> None:
    run_dir, host_dir = tmp_path / "run", tmp_path / "host"
    settings = Settings(state_dir=tmp_path, run_dir=run_dir, host_dir=host_dir, appliance=True)
    assert host_name(settings) is None
    host = SimulatedHost(settings.wireguard_key_path, host_dir)
    with brokering(settings, host):
        assert host_name(settings) == "cellule.local"
        host.apply_machine(MachinePlan(hostname="accueil"))
        assert host_name(settings) == "accueil.local"
    assert host_name(settings.model_copy(update={"appliance": False})) == ""
