"""One body for both twins: what a verb promises holds on the real machine and on the simulated one alike.

Both are asked through the broker in a process of its own, so its socket is under test as well. The real
one runs in a network namespace.
"""

import os
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from appliance.host import (
    FirewallKind,
    FirewallPlan,
    Host,
    HostUnavailable,
    Peer,
    TunnelKind,
    TunnelPlan,
    brokered,
)
from appliance.settings import Settings
from tests.netlab import Lab, settings_environment
from tests.waiting import wait_until


def a_key() -> str:
    return b64encode(secrets.token_bytes(32)).decode()


def a_peer(number: int, endpoint: str | None = None) -> Peer:
    return Peer(public_key=a_key(), allowed_ips=(IPv4Network(f"10.77.0.{number}/32"),), endpoint=endpoint)


@pytest.fixture(params=["simulated", pytest.param("linux", marks=pytest.mark.root)])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    simulated = request.param == "simulated"
    return settings.model_copy(update={"host_simulated": simulated, "wireguard_port": 51899})


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("box") as lab:
        yield lab


@pytest.fixture
def interface(settings: Settings, request: pytest.FixtureRequest) -> str:
    lab = None if settings.host_simulated else request.getfixturevalue("lab")
    return "wg0" if lab is None else str(lab.tunnel_name("box"))


@pytest.fixture
def host(settings: Settings, interface: str, request: pytest.FixtureRequest) -> Iterator[Host]:
    settings = settings.model_copy(update={"wireguard_interface": interface})
    argv, variables = [sys.executable, "-m", "appliance.host"], settings_environment(settings)
    if settings.host_simulated:
        process = subprocess.Popen(argv, env={**os.environ, **variables})
    else:
        process = request.getfixturevalue("lab").popen("box", argv, variables)
    host = brokered(settings)
    try:
        wait_until(settings.broker_socket.is_socket, within_seconds=20, what="the broker listens")
        yield host
        host.remove_tunnel(interface)
    finally:
        process.terminate()
        code = process.wait(10)
    assert code == 0
    assert not settings.broker_socket.exists()


def a_plan(settings: Settings, interface: str, *peers: Peer) -> TunnelPlan:
    return TunnelPlan(
        interface=interface,
        address=IPv4Interface("10.77.0.1/16"),
        listen_port=settings.wireguard_port,
        peers=peers,
    )


def test_the_key_is_made_once_and_only_its_owner_reads_it(host: Host, settings: Settings) -> None:
    first = host.ensure_wireguard_key()
    assert host.ensure_wireguard_key() == first
    path = settings.secrets_dir / "wireguard.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() != first


def test_an_interface_that_does_not_exist_is_down(host: Host, interface: str) -> None:
    status = host.tunnel_status(interface)
    assert not status.is_up
    assert status.peers == ()


def test_a_tunnel_has_exactly_the_planned_peers(host: Host, settings: Settings, interface: str) -> None:
    stays, goes, comes = a_peer(2), a_peer(3), a_peer(4, "10.99.0.9:1234")
    host.apply_tunnel(a_plan(settings, interface, stays, goes))
    host.apply_tunnel(a_plan(settings, interface, stays, comes))
    status = host.tunnel_status(interface)
    assert status.kind in (
        {TunnelKind.SIMULATED} if settings.host_simulated else {TunnelKind.KERNEL, TunnelKind.WIREGUARD_GO}
    )
    assert status.listen_port == settings.wireguard_port
    assert {peer.public_key: peer.allowed_ips for peer in status.peers} == {
        peer.public_key: peer.allowed_ips for peer in (stays, comes)
    }
    assert {peer.endpoint for peer in status.peers} == {None, "10.99.0.9:1234"}
    assert all(peer.handshake_at is None for peer in status.peers)


def test_applying_a_plan_twice_changes_nothing(host: Host, settings: Settings, interface: str) -> None:
    plan = a_plan(settings, interface, a_peer(2), a_peer(3))
    host.apply_tunnel(plan)
    before = host.tunnel_status(interface)
    host.apply_tunnel(plan)
    assert host.tunnel_status(interface) == before


def test_a_cut_address_is_gone_and_the_others_stay(host: Host, settings: Settings, interface: str) -> None:
    stays, goes = a_peer(2), a_peer(3)
    host.apply_tunnel(a_plan(settings, interface, stays, goes))
    host.apply_firewall(
        FirewallPlan(
            interface=interface,
            kind=FirewallKind.BOX,
            own_address=IPv4Address("10.77.0.1"),
            others=(IPv4Address("10.77.0.2"), IPv4Address("10.77.0.3")),
            offered_ports=(8080,),
            called_ports=(8000,),
            guarded=(IPv4Network("10.77.0.0/16"),),
        )
    )
    host.cut(interface, (IPv4Address("10.77.0.3"),))
    assert [peer.public_key for peer in host.tunnel_status(interface).peers] == [stays.public_key]
    host.cut(interface, (IPv4Address("10.77.0.3"),))


def test_removing_is_complete_and_may_be_repeated(host: Host, settings: Settings, interface: str) -> None:
    host.apply_tunnel(a_plan(settings, interface, a_peer(2)))
    host.remove_tunnel(interface)
    assert not host.tunnel_status(interface).is_up
    host.remove_tunnel(interface)


def test_without_a_broker_the_refusal_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match=r"python -m appliance\.host"):
        brokered(Settings(state_dir=tmp_path)).ensure_wireguard_key()
