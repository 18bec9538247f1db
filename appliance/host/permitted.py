"""What the broker does for a caller: what belongs to the box's own tunnel and to the box, nothing else. Pure.

The caller's privilege is the service user's. Were that user taken over, these verbs must not become a way to
other interfaces, to the machine's routes, to the connections of its admin, or to files of root.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance.host.contract import FirewallPlan, InvalidPlan, NotPermitted, TunnelPlan
from appliance.host.machine import InstallPlan, MachinePlan
from appliance.host.wire import Request
from appliance.settings import TUNNEL_NETWORK

MEDIA_DIR = Path("/run/cellule-media")
"""Where a USB stick is mounted."""
UPDATES_DIR = Path("/var/lib/cellule/updates")
_NETWORK = IPv4Network(TUNNEL_NETWORK)


@dataclass(frozen=True)
class Limits:
    """The box's own tunnel `interface`, and the folders that a release may be installed from."""

    interface: str
    release_folders: tuple[Path, ...] = (UPDATES_DIR, MEDIA_DIR)


def check_permitted(request: Request, limits: Limits) -> None:
    """Returns when the request stays within `limits`. Raises NotPermitted, InvalidPlan."""
    if check := _CHECKS.get(request.verb):
        check(limits, **request.arguments)


def _named(limits: Limits, interface: str) -> None:
    _check_tunnel(limits, interface, ())


def _cut(limits: Limits, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
    _check_tunnel(limits, interface, _networks(addresses))


def _apply_tunnel(limits: Limits, plan: TunnelPlan) -> None:
    peers = (network for peer in plan.peers for network in peer.allowed_ips)
    _check_tunnel(limits, plan.interface, (plan.address.network, *peers))


def _apply_firewall(limits: Limits, plan: FirewallPlan) -> None:
    addresses = _networks((plan.own_address, *plan.others, *(link.address for link in plan.links)))
    _check_tunnel(limits, plan.interface, (*addresses, *plan.guarded))


def _apply_machine(limits: Limits, plan: MachinePlan, trial: bool) -> None:
    network = plan.network
    if network.interface == limits.interface:
        raise InvalidPlan(f"{network.interface} is the box's tunnel, not a network card.")
    if network.address is not None and network.address.network.overlaps(_NETWORK):
        raise InvalidPlan(
            f"The network {network.address.network} overlaps {_NETWORK}, which the tunnels use.",
            next_step="Use another network, or a smaller one.",
        )


def _install_release(limits: Limits, plan: InstallPlan) -> None:
    if plan.source.startswith(("http://", "https://")):
        return
    path = Path(plan.source)
    if ".." in path.parts or not any(path.is_relative_to(folder) for folder in limits.release_folders):
        raise NotPermitted(f"{plan.source} is not where releases are installed from.")


def _serve_certificate(limits: Limits, certificate_pem: str | None, key_pem: str | None, trial: bool) -> None:
    if certificate_pem is None and key_pem is None:
        return
    if certificate_pem is None or key_pem is None:
        raise InvalidPlan("A certificate needs its key, and a key its certificate.")
    # rarely asked for, and much to load
    from appliance.host.certificate import check_certificate

    check_certificate(certificate_pem, key_pem)


_CHECKS: dict[str, Callable[..., None]] = {
    "tunnel_status": _named,
    "remove_tunnel": _named,
    "cut": _cut,
    "apply_tunnel": _apply_tunnel,
    "apply_firewall": _apply_firewall,
    "apply_machine": _apply_machine,
    "install_release": _install_release,
    "serve_certificate": _serve_certificate,
}


def _networks(addresses: Iterable[IPv4Address]) -> Iterator[IPv4Network]:
    return (IPv4Network(address) for address in addresses)


def _check_tunnel(limits: Limits, named: str, networks: Iterable[IPv4Network]) -> None:
    if named != limits.interface:
        raise NotPermitted(f"The interface {named} is not the box's tunnel, which is {limits.interface}.")
    for network in networks:
        if not network.subnet_of(_NETWORK):
            raise NotPermitted(f"{network} lies outside of the tunnel network {_NETWORK}.")
