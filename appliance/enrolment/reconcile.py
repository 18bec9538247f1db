"""The box's end of every tunnel, made equal to what storage says: approved workers in, everybody else out.

Called at start, at every change of storage and every few seconds; each call is complete in itself. The
order matters: who is no longer approved is cut first, then the rules stand before the tunnel does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from sqlite_utils import Database

from appliance.host import FirewallKind, FirewallPlan, Host, Peer, TunnelPlan, TunnelStatus
from appliance.settings import (
    TUNNEL_BOX_ADDRESS,
    TUNNEL_NETWORK,
    WORKER_ENGINE_PORTS,
    WORKER_PART_PORTS,
    Settings,
)


@dataclass(frozen=True)
class Member:
    """An approved worker as the tunnel sees it: one key, one address."""

    public_key: str
    tunnel_address: IPv4Address


def approved_members(db: Database) -> tuple[Member, ...]:
    """The approved workers that have an address, in order of address."""
    rows = db.query("SELECT public_key, tunnel_address FROM workers WHERE state = 'approved'")
    members = (Member(row["public_key"], IPv4Address(row["tunnel_address"])) for row in rows)
    return tuple(sorted(members, key=lambda member: member.tunnel_address))


def desired_tunnel(members: Iterable[Member], settings: Settings) -> TunnelPlan:
    """One peer a worker, which may send from its own address and no other. The workers call the box."""
    network = IPv4Network(TUNNEL_NETWORK)
    return TunnelPlan(
        interface=settings.wireguard_interface,
        address=IPv4Interface(f"{TUNNEL_BOX_ADDRESS}/{network.prefixlen}"),
        listen_port=settings.wireguard_port,
        peers=tuple(
            Peer(public_key=member.public_key, allowed_ips=(IPv4Network(member.tunnel_address),))
            for member in members
        ),
    )


def desired_firewall(members: Iterable[Member], settings: Settings) -> FirewallPlan:
    """Workers may call the box's front; the box may call their engines and their parts of split models."""
    return FirewallPlan(
        interface=settings.wireguard_interface,
        kind=FirewallKind.BOX,
        own_address=IPv4Address(TUNNEL_BOX_ADDRESS),
        others=tuple(member.tunnel_address for member in members),
        offered_ports=(settings.port,),
        called_ports=(*WORKER_ENGINE_PORTS, *WORKER_PART_PORTS),
        guarded=(IPv4Network(TUNNEL_NETWORK),),
    )


def addresses_to_cut(status: TunnelStatus, desired: TunnelPlan) -> tuple[IPv4Address, ...]:
    """Addresses of peers that are in the tunnel now, under a key that should not have them."""
    wanted = {(peer.public_key, network) for peer in desired.peers for network in peer.allowed_ips}
    return tuple(
        network.network_address
        for peer in status.peers
        for network in peer.allowed_ips
        if (peer.public_key, network) not in wanted
    )


def reconcile_network(db: Database, host: Host, settings: Settings) -> None:
    """Makes tunnel and firewall as storage says; safe to repeat. Raises the errors of `Host`."""
    members = approved_members(db)
    tunnel = desired_tunnel(members, settings)
    if stale := addresses_to_cut(host.tunnel_status(tunnel.interface), tunnel):
        host.cut(tunnel.interface, stale)
    host.apply_firewall(desired_firewall(members, settings))
    host.apply_tunnel(tunnel)
