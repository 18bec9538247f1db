"""The addresses of this machine in the office network: not loopback, not the tunnel's, not self-assigned."""

import ipaddress
import socket
from collections.abc import Iterator

import psutil

from appliance.settings import TUNNEL_NETWORK

_TUNNEL = ipaddress.IPv4Network(TUNNEL_NETWORK)


def lan_addresses() -> tuple[str, ...]:
    """IPv4 addresses of the interfaces that are up, sorted, each once."""
    return tuple(sorted({address for _, address in _addresses() if is_of_lan(address)}))


def address_in_tunnel_network(except_on: str) -> str | None:
    """An IPv4 address of this machine in the tunnel's network, unless its interface is `except_on`."""
    return next(
        (
            address
            for interface, address in _addresses()
            if interface != except_on and ipaddress.IPv4Address(address) in _TUNNEL
        ),
        None,
    )


def is_of_lan(text: str) -> bool:
    """Whether `text` is an IPv4 address that other machines of the LAN can call."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_link_local or address in _TUNNEL)


def _addresses() -> Iterator[tuple[str, str]]:
    """Interface and IPv4 address, of the interfaces that are up."""
    statuses = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        if name in statuses and statuses[name].isup:
            yield from ((name, each.address) for each in addresses if each.family == socket.AF_INET)
