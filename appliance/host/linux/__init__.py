"""The real machine: ip, wg, wireguard-go, nft and ss, called with the plans of the contract."""

from ipaddress import IPv4Address
from pathlib import Path

from appliance.host.contract import FirewallPlan, TunnelPlan, TunnelStatus
from appliance.host.keys import ensure_private_key, private_text, public_text
from appliance.host.linux.commands import call
from appliance.host.linux.endpoints import RememberedEndpoints
from appliance.host.linux.firewall import apply_rules, forget_addresses, remove_rules
from appliance.host.linux.interface import (
    address_interface,
    create_interface,
    delete_interface,
    interface_kind,
)
from appliance.host.linux.machine import LinuxMachine
from appliance.host.linux.peers import is_as_planned, read_dump, sync_peers
from appliance.host.linux.places import Places
from appliance.host.linux.safekeeping import LinuxSafekeeping
from appliance.host.linux.sockets import kill_connections
from appliance.host.linux.support import LinuxSupport
from appliance.host.support import SUPPORT_INTERFACE

__all__ = ["LinuxHost"]


class LinuxHost(LinuxMachine, LinuxSafekeeping, LinuxSupport):
    """Fulfils `Host` on this machine, in the network namespace of the process."""

    def __init__(
        self,
        key_path: Path,
        memory_dir: Path,
        places: Places | None = None,
        support_interface: str = SUPPORT_INTERFACE,
    ) -> None:
        LinuxMachine.__init__(self, places)
        LinuxSupport.__init__(self, support_interface, has_unit=places is not None)
        self._key_path = key_path
        self._endpoints = RememberedEndpoints(memory_dir)

    def ensure_wireguard_key(self) -> str:
        return public_text(ensure_private_key(self._key_path))

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        key = private_text(ensure_private_key(self._key_path))
        if interface_kind(plan.interface) is None:
            create_interface(plan.interface)
        dump = read_dump(plan.interface)
        # an interface that was just made knows nobody: what was remembered stands in for what it had learnt
        learnt = {peer.public_key: peer.endpoint for peer in dump.peers if peer.endpoint is not None}
        if not is_as_planned(dump, plan, key):
            # syncconf without a port would choose a new one each time
            port = plan.listen_port or dump.listen_port
            sync_peers(plan, key, port, self._endpoints.load(plan.interface) | learnt)
        address_interface(plan)
        self._endpoints.remember(plan.interface, dump.peers)

    def apply_firewall(self, plan: FirewallPlan) -> None:
        apply_rules(plan)

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        # packets first, then the peer, then the connections that now hang
        forget_addresses(interface, addresses)
        if interface_kind(interface) is not None:
            for peer in read_dump(interface).peers:
                if any(address in network for network in peer.allowed_ips for address in addresses):
                    call("wg", "set", interface, "peer", peer.public_key, "remove")
        for address in addresses:
            kill_connections(address)

    def tunnel_status(self, interface: str) -> TunnelStatus:
        kind = interface_kind(interface)
        if kind is None:
            return TunnelStatus(interface=interface, kind=None)
        dump = read_dump(interface)
        self._endpoints.remember(interface, dump.peers)
        return TunnelStatus(interface=interface, kind=kind, listen_port=dump.listen_port, peers=dump.peers)

    def remove_tunnel(self, interface: str) -> None:
        delete_interface(interface)
        remove_rules(interface)
        self._endpoints.forget(interface)
