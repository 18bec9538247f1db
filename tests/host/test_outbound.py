"""The chain of allowed connections in the image's own firewall, in a network namespace with real packets."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import MachinePlan, Outbound
from appliance.host.linux.outbound import outbound_rules
from tests.netlab import Lab

pytestmark = pytest.mark.root
FIREWALL = Path(__file__).parents[2] / "rootfs" / "etc" / "nftables.conf"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("box", "server") as lab, lab.inside("box"):
        subprocess.run(["nft", "-f", FIREWALL], check=True)
        yield lab


def apply(plan: MachinePlan) -> None:
    subprocess.run(["nft", "-f", "-"], input=outbound_rules(plan), text=True, check=True)


def leaves(address: str, port: int) -> bool:
    """Whether a call's packets get past the firewall; nobody listens there, so it is refused either way."""
    count_leaving(address, port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, port), 2)
    listed = ["nft", "list", "chain", "inet", "cellule", "probe"]
    seen = subprocess.run(listed, capture_output=True, text=True, check=True)
    return "packets 0 " not in seen.stdout


def count_leaving(address: str, port: int) -> None:
    """A chain after the firewall's, which sees only what it lets out."""
    probe = (
        "add chain inet cellule probe { type filter hook postrouting priority 0; }\n"
        "flush chain inet cellule probe\n"
        f"add rule inet cellule probe ip daddr {address} tcp dport {port} counter\n"
    )
    subprocess.run(["nft", "-f", "-"], input=probe, text=True, check=True)


def test_only_what_is_enabled_leaves(lab: Lab) -> None:
    server = lab.address("server")
    plan = MachinePlan(outbound=(Outbound(host=server, port=8443, why="a test"),))
    for enabled, port, gets_out in ((plan, 8443, True), (plan, 8444, False), (MachinePlan(), 8443, False)):
        apply(enabled)
        assert leaves(server, port) == gets_out, (port, enabled)


def test_applying_twice_leaves_one_set_of_rules(lab: Lab) -> None:
    plan = MachinePlan(outbound=(Outbound(host="up.example.org", port=443),), ntp_servers=("192.0.2.1",))
    apply(plan)
    listed = ["nft", "list", "chain", "inet", "cellule", "allowed_out"]
    once = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    apply(plan)
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout == once
    assert once.count("accept") == 4
