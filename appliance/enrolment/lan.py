"""The addresses of this machine in the office network: not loopback, not the tunnel's, not self-assigned."""

import ipaddress
import socket

import psutil

from appliance.settings import TUNNEL_NETWORK

_TUNNEL = ipaddress.IPv4Network(TUNNEL_NETWORK)


def lan_addresses() -> tuple[str, ...]:
    """IPv4 addresses of the interfaces that are up, sorted, each once."""
    statuses = psutil.net_if_stats()
    return tuple(
        sorted(
            {
                address.address
                for name, addresses in psutil.net_if_addrs().items()
                if name in statuses and statuses[name].isup
                for address in addresses
                if address.family == socket.AF_INET and is_of_lan(address.address)
            }
        )
    )


def is_of_lan(text: str) -> bool:
    """Whether `text` is an IPv4 address that other machines of the LAN can call."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_link_local or address in _TUNNEL)
