"""The worker's end of its tunnel: what to ask of the machine, from the box's configuration. Pure.

The tunnel reaches the box and nothing else, whatever the configuration says: a box that was taken over
must not become the way into the PCs of the company, nor draw their traffic.
"""

from ipaddress import IPv4Interface, IPv4Network
from urllib.parse import urlsplit

from appliance.enrolment.contract import WorkerConfig
from appliance.enrolment.pinned import Address
from appliance.errors import NotTrusted
from appliance.host import FirewallKind, FirewallPlan, Peer, TunnelPlan
from appliance.settings import TUNNEL_NETWORK, WORKER_ENGINE_PORTS, WORKER_PART_PORTS


class GreedyConfig(NotTrusted):
    """The box's configuration would draw traffic into the tunnel that is none of its business."""

    code = "greedy_config"


def worker_tunnel(config: WorkerConfig, interface: str) -> TunnelPlan:
    """One peer, the box. Raises GreedyConfig."""
    network = IPv4Network(TUNNEL_NETWORK)
    if not all(allowed.subnet_of(network) for allowed in config.allowed_ips):
        raise GreedyConfig(
            f"The box asks for traffic outside of {network}.", next_step="Ask IT; nothing was changed."
        )
    return TunnelPlan(
        interface=interface,
        address=IPv4Interface(f"{config.tunnel_address}/32"),
        peers=(
            Peer(
                public_key=config.box_public_key,
                allowed_ips=(IPv4Network(config.box_tunnel_address),),
                endpoint=config.endpoint,
            ),
        ),
    )


def report_address(config: WorkerConfig) -> Address:
    """Host and port of the box's front inside the tunnel."""
    return str(config.box_tunnel_address), urlsplit(config.report_url).port or 443


def worker_firewall(config: WorkerConfig, interface: str, box_port: int) -> FirewallPlan:
    """The box may call our engines and our part of a split model; we may call the box's front.

    Two addresses are guarded and no more: the PC's own network may use the rest of the range.
    """
    return FirewallPlan(
        interface=interface,
        kind=FirewallKind.WORKER,
        own_address=config.tunnel_address,
        others=(config.box_tunnel_address,),
        offered_ports=(*WORKER_ENGINE_PORTS, *WORKER_PART_PORTS),
        called_ports=(box_port,),
        guarded=(IPv4Network(config.tunnel_address), IPv4Network(config.box_tunnel_address)),
    )
