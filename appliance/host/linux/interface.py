"""A WireGuard interface comes up by the kernel's module, or by wireguard-go where the kernel has none.

Which of the two is found out by trying, never by version numbers. Each interface of one machine needs
a name of its own even across network namespaces: wireguard-go's control sockets share one folder.
"""

import json

from appliance.host.contract import NotPermitted, TunnelKind, TunnelPlan, Unsupported
from appliance.host.linux.commands import attempt, call, refusal


def interface_kind(name: str) -> TunnelKind | None:
    """How `name` runs now; None when it does not exist."""
    shown = attempt("ip", "-details", "link", "show", "dev", name)
    if shown.returncode != 0:
        return None
    # a tun device is wireguard-go's; the kernel's own says what it is
    return TunnelKind.KERNEL if " wireguard " in shown.stdout else TunnelKind.WIREGUARD_GO


def create_interface(name: str) -> TunnelKind:
    """Adds the interface. Raises NotPermitted, Unsupported, HostFailed."""
    add = ("ip", "link", "add", "dev", name, "type", "wireguard")
    tried = attempt(*add)
    if tried.returncode == 0:
        return TunnelKind.KERNEL
    if "Unknown device type" not in tried.stderr and "not supported" not in tried.stderr:
        raise refusal(add, tried.stderr)
    started = attempt("wireguard-go", name)
    if started.returncode == 0:
        return TunnelKind.WIREGUARD_GO
    if "permission" in started.stderr.lower() or "not permitted" in started.stderr:
        raise NotPermitted(
            "The system did not permit a tunnel interface.",
            next_step="Run it as root: it needs CAP_NET_ADMIN and /dev/net/tun.",
        )
    raise Unsupported(
        f"Neither the kernel nor wireguard-go could make a tunnel: {started.stderr.strip()[-300:]}",
        next_step="Load the wireguard kernel module, or the tun module (modprobe tun).",
    )


def address_interface(plan: TunnelPlan) -> None:
    """Address, MTU, link up, and a route to every peer's addresses that the address itself doesn't cover."""
    name = plan.interface
    call("ip", "link", "set", "dev", name, "mtu", str(plan.mtu), "up")
    wanted = str(plan.address)
    present = call("ip", "-brief", "-4", "address", "show", "dev", name).split()[2:]
    for stale in set(present) - {wanted}:
        call("ip", "address", "del", stale, "dev", name)
    if wanted not in present:
        call("ip", "address", "add", wanted, "dev", name)
    networks = (network for peer in plan.peers for network in peer.allowed_ips)
    routes = {str(network) for network in networks if not network.subnet_of(plan.address.network)}
    shown = json.loads(call("ip", "-json", "-4", "route", "show", "dev", name, "proto", "boot") or "[]")
    for stale in {_as_network(route["dst"]) for route in shown} - routes:
        call("ip", "route", "del", stale, "dev", name)
    for route in sorted(routes):
        call("ip", "route", "replace", route, "dev", name)


def _as_network(text: str) -> str:
    return text if "/" in text else f"{text}/32"


def delete_interface(name: str) -> None:
    """Takes the interface away; wireguard-go ends with its device. Nothing to do when it does not exist."""
    if interface_kind(name) is not None:
        call("ip", "link", "del", "dev", name)
