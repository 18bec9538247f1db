"""From rows of workers to the box's tunnel and rules, on a real database and the simulated machine."""

from base64 import b64encode
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.enrolment import approve_worker, create_invitation, revoke_worker
from appliance.enrolment.contract import WorkerFacts
from appliance.enrolment.reconcile import (
    Member,
    addresses_to_cut,
    desired_firewall,
    desired_tunnel,
    reconcile_network,
)
from appliance.enrolment.workers import redeem_invitation
from appliance.host import FirewallPlan, PeerStatus, TunnelKind, TunnelPlan, TunnelStatus
from appliance.host.simulated import SimulatedHost
from appliance.settings import WORKER_ENGINE_PORTS, WORKER_PART_PORTS, Settings
from appliance.storage import open_cellule


def key(number: int) -> str:
    return b64encode(number.to_bytes(32)).decode()


def member(number: int) -> Member:
    return Member(key(number), IPv4Address(f"10.77.0.{number}"))


class DiligentHost(SimulatedHost):
    """Remembers in which order it was asked."""

    def __init__(self, key_path: Path, memory_dir: Path) -> None:
        super().__init__(key_path, memory_dir)
        self.calls: list[str] = []

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        self.calls.append("tunnel")
        super().apply_tunnel(plan)

    def apply_firewall(self, plan: FirewallPlan) -> None:
        self.calls.append("firewall")
        super().apply_firewall(plan)

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        self.calls.append(f"cut {', '.join(map(str, addresses))}")
        super().cut(interface, addresses)


@pytest.fixture
def host(settings: Settings) -> DiligentHost:
    return DiligentHost(settings.secrets_dir / "wireguard.key", settings.state_dir / "host")


@pytest.fixture
def db(settings: Settings) -> Database:
    return open_cellule(settings.state_dir)


def redeemed(db: Database, settings: Settings, number: int) -> str:
    invitation = create_invitation(db, settings, f"pc{number}", created_by=None)
    facts = WorkerFacts(name=f"pc{number}")
    return redeem_invitation(
        db, invitation.id, public_key=key(number), facts=facts, short_code="123456", poll_key=bytes(32)
    ).id


def peers(host: DiligentHost, settings: Settings) -> dict[str, tuple[IPv4Network, ...]]:
    status = host.tunnel_status(settings.wireguard_interface)
    return {peer.public_key: peer.allowed_ips for peer in status.peers}


def test_each_worker_may_send_from_its_own_address_only(settings: Settings) -> None:
    plan = desired_tunnel([member(2), member(3)], settings)
    assert [(peer.public_key, peer.allowed_ips) for peer in plan.peers] == [
        (key(2), (IPv4Network("10.77.0.2/32"),)),
        (key(3), (IPv4Network("10.77.0.3/32"),)),
    ]
    assert plan.listen_port == settings.wireguard_port
    assert str(plan.address) == "10.77.0.1/16"


def test_the_rules_name_the_same_workers(settings: Settings) -> None:
    rules = desired_firewall([member(2)], settings)
    assert rules.others == (IPv4Address("10.77.0.2"),)
    assert rules.offered_ports == (settings.port,)
    assert rules.called_ports == (*WORKER_ENGINE_PORTS, *WORKER_PART_PORTS)


def test_an_address_under_another_key_is_cut(settings: Settings) -> None:
    def status(*members: Member) -> TunnelStatus:
        seen = tuple(
            PeerStatus(
                public_key=one.public_key,
                allowed_ips=(IPv4Network(one.tunnel_address),),
                endpoint=None,
                handshake_at=None,
                received_bytes=0,
                sent_bytes=0,
            )
            for one in members
        )
        return TunnelStatus(interface="wg0", kind=TunnelKind.KERNEL, peers=seen)

    desired = desired_tunnel([member(2)], settings)
    assert addresses_to_cut(status(member(2)), desired) == ()
    assert addresses_to_cut(status(), desired) == ()
    assert addresses_to_cut(status(member(2), member(3)), desired) == (IPv4Address("10.77.0.3"),)
    usurper = Member(key(9), IPv4Address("10.77.0.2"))
    assert addresses_to_cut(status(usurper), desired) == (IPv4Address("10.77.0.2"),)


def test_approval_lets_in_and_revocation_cuts_first(
    db: Database, host: DiligentHost, settings: Settings
) -> None:
    first, second = redeemed(db, settings, 2), redeemed(db, settings, 3)
    reconcile_network(db, host, settings)
    assert peers(host, settings) == {}
    for worker in (first, second):
        approve_worker(db, worker, approved_by=None)
    reconcile_network(db, host, settings)
    assert len(peers(host, settings)) == 2
    host.calls.clear()
    revoke_worker(db, first)
    reconcile_network(db, host, settings)
    assert host.calls == ["cut 10.77.0.2", "firewall", "tunnel"]
    assert peers(host, settings) == {key(3): (IPv4Network("10.77.0.3/32"),)}


def test_repeating_changes_nothing_and_cuts_nobody(
    db: Database, host: DiligentHost, settings: Settings
) -> None:
    approve_worker(db, redeemed(db, settings, 2), approved_by=None)
    reconcile_network(db, host, settings)
    before = host.tunnel_status(settings.wireguard_interface)
    host.calls.clear()
    reconcile_network(db, host, settings)
    assert host.tunnel_status(settings.wireguard_interface) == before
    assert host.calls == ["firewall", "tunnel"]
