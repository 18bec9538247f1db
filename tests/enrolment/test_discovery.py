"""A worker finds the box in its LAN, also after the box's address changed, and never through the tunnel."""

import subprocess
from pathlib import Path

import pytest

from appliance.claim.certificate import ensure_certificate
from appliance.settings import Settings
from tests.enrolment.netns import Cable, cable, ip, wait_until_running

BOX = """
import sys
from pathlib import Path
from appliance.enrolment.announcing import Announcer
from appliance.settings import Settings
announcer = Announcer(Settings(state_dir=Path(sys.argv[1]), listen_host=sys.argv[2], port=8443, tls=True))
for _ in sys.stdin:
    announcer.refresh()
    print("announced", flush=True)
announcer.close()
"""
WORKER = """
import sys, time
from appliance.enrolment.discovery import find_boxes
started = time.monotonic()
own = sys.argv[3:] or None
for host, port in find_boxes(timeout_seconds=float(sys.argv[1]), interfaces=own):
    print(host, port, round(1000 * (time.monotonic() - started)), flush=True)
    if sys.argv[2] == host:
        break
"""


def refresh(box: subprocess.Popen[str]) -> None:
    assert box.stdin and box.stdout
    box.stdin.write("\n")
    box.stdin.flush()
    assert box.stdout.readline() == "announced\n"


def found(lan: Cable, until: str, timeout_seconds: float, *interfaces: str) -> list[str]:
    worker = lan.start(lan.right, WORKER, str(timeout_seconds), until, *interfaces)
    output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    return output.splitlines()


@pytest.mark.root
def test_a_worker_finds_the_box_and_finds_it_again_at_another_address(tmp_path: Path) -> None:
    ensure_certificate(Settings(state_dir=tmp_path))
    with cable() as lan:
        # an address of the tunnel's network is on the box too and must not be told
        ip(f"-n {lan.left} link add tunnel0 type veth peer name tunnel0 netns {lan.right}")
        for namespace, number in ((lan.left, 1), (lan.right, 2)):
            ip(f"-n {namespace} addr add 10.77.0.{number}/16 dev tunnel0")
            ip(f"-n {namespace} link set tunnel0 up")
        wait_until_running(lan.left, "tunnel0")
        box = lan.start(lan.left, BOX, str(tmp_path), "0.0.0.0")
        try:
            refresh(box)
            [line] = found(lan, "192.168.77.1", 5)
            host, port, milliseconds = line.split()
            assert (host, port) == ("192.168.77.1", "8443")
            assert int(milliseconds) < 2000
            assert found(lan, "nobody", 1, "10.77.0.2") == []
            ip(f"-n {lan.left} addr del 192.168.77.1/24 dev lan0")
            ip(f"-n {lan.left} addr add 192.168.77.9/24 dev lan0")
            refresh(box)
            lines = found(lan, "192.168.77.9", 5)
            assert {line.split()[0] for line in lines} == {"192.168.77.9"}
        finally:
            box.communicate(timeout=10)
        assert box.returncode == 0
        assert found(lan, "nobody", 1) == []


@pytest.mark.root
def test_a_box_on_loopback_announces_nothing(tmp_path: Path) -> None:
    with cable() as lan:
        box = lan.start(lan.left, BOX, str(tmp_path), "127.0.0.1")
        refresh(box)
        assert found(lan, "nobody", 1) == []
        box.communicate(timeout=10)
        assert box.returncode == 0
