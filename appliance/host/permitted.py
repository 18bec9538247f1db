"""What the broker does for a caller: whatever belongs to the box's own tunnel, and nothing else. Pure.

The caller's privilege is the service user's. Were that user taken over, these verbs must not become a way to
other interfaces, to the machine's routes, or to the connections of its admin.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from appliance.host.contract import NotPermitted
from appliance.host.wire import (
    ApplyFirewall,
    ApplyTunnel,
    AskTunnelStatus,
    Cut,
    EnsureWireguardKey,
    RemoveTunnel,
    Request,
)
from appliance.settings import TUNNEL_NETWORK

_NETWORK = IPv4Network(TUNNEL_NETWORK)


def check_permitted(request: Request, interface: str) -> None:
    """Returns when `request` is about `interface` and the tunnel network alone. Raises NotPermitted."""
    match request:
        case EnsureWireguardKey():
            return
        case AskTunnelStatus(interface=named) | RemoveTunnel(interface=named):
            _check(named, interface, ())
        case Cut(interface=named, addresses=addresses):
            _check(named, interface, _networks(addresses))
        case ApplyTunnel(plan=plan):
            peers = (network for peer in plan.peers for network in peer.allowed_ips)
            _check(plan.interface, interface, (plan.address.network, *peers))
        case ApplyFirewall(plan=rules):
            addresses = (rules.own_address, *rules.others)
            _check(rules.interface, interface, (*_networks(addresses), *rules.guarded))


def _networks(addresses: Iterable[IPv4Address]) -> Iterator[IPv4Network]:
    return (IPv4Network(address) for address in addresses)


def _check(named: str, interface: str, networks: Iterable[IPv4Network]) -> None:
    if named != interface:
        raise NotPermitted(f"The interface {named} is not the box's tunnel, which is {interface}.")
    for network in networks:
        if not network.subnet_of(_NETWORK):
            raise NotPermitted(f"{network} lies outside of the tunnel network {_NETWORK}.")
