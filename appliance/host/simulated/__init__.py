"""The twin without a machine: the same verbs and refusals, remembered in a JSON file, no packet moved.

No peer of a simulated tunnel ever shakes hands: what is not there is not pretended.
"""

from ipaddress import IPv4Address
from pathlib import Path

from pydantic import BaseModel

from appliance.clock import Clock, now
from appliance.host.contract import FirewallPlan, PeerStatus, TunnelKind, TunnelPlan, TunnelStatus
from appliance.host.keys import ensure_private_key, public_text
from appliance.host.simulated.machine import SimulatedMachine
from appliance.host.simulated.safekeeping import SimulatedSafekeeping
from appliance.host.simulated.support import SimulatedSupport
from appliance.private_file import replace

__all__ = ["SimulatedHost"]


class Memory(BaseModel):
    """The simulated tunnels: interface → what was applied last."""

    tunnels: dict[str, TunnelPlan] = {}
    firewalls: dict[str, FirewallPlan] = {}


class SimulatedHost(SimulatedMachine, SimulatedSafekeeping, SimulatedSupport):
    """Fulfils `Host` on files in `memory_dir`."""

    def __init__(self, key_path: Path, memory_dir: Path, clock: Clock = now) -> None:
        super().__init__(memory_dir, clock)
        self._key_path = key_path
        self._shares = memory_dir / "nas"
        self._file = memory_dir / "simulated-host.json"
        self._memory = (
            Memory.model_validate_json(self._file.read_bytes()) if self._file.exists() else Memory()
        )

    def ensure_wireguard_key(self) -> str:
        return public_text(ensure_private_key(self._key_path))

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        self._memory.tunnels[plan.interface] = plan
        self._keep()

    def apply_firewall(self, plan: FirewallPlan) -> None:
        self._memory.firewalls[plan.interface] = plan
        self._keep()

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        tunnel, firewall = self._memory.tunnels.get(interface), self._memory.firewalls.get(interface)
        if tunnel is not None:
            staying = tuple(
                peer
                for peer in tunnel.peers
                if not any(address in network for network in peer.allowed_ips for address in addresses)
            )
            self._memory.tunnels[interface] = tunnel.model_copy(update={"peers": staying})
        if firewall is not None:
            others = tuple(address for address in firewall.others if address not in addresses)
            self._memory.firewalls[interface] = firewall.model_copy(update={"others": others})
        self._keep()

    def tunnel_status(self, interface: str) -> TunnelStatus:
        plan = self._memory.tunnels.get(interface)
        if plan is None:
            return TunnelStatus(interface=interface, kind=None)
        peers = tuple(
            PeerStatus(
                public_key=peer.public_key,
                allowed_ips=peer.allowed_ips,
                endpoint=peer.endpoint,
                handshake_at=None,
                received_bytes=0,
                sent_bytes=0,
            )
            for peer in sorted(plan.peers, key=lambda peer: peer.public_key)
        )
        return TunnelStatus(
            interface=interface, kind=TunnelKind.SIMULATED, listen_port=plan.listen_port, peers=peers
        )

    def remove_tunnel(self, interface: str) -> None:
        self._memory.tunnels.pop(interface, None)
        self._memory.firewalls.pop(interface, None)
        self._keep()

    def _keep(self) -> None:
        replace(self._file, self._memory.model_dump_json().encode())
