"""The worker's end of its tunnel: what to ask of the machine, from the box's configuration. Pure.

The tunnel reaches the box and nothing else, whatever the configuration says: a box that was taken over
must not become the way into the PCs of the company, nor draw their traffic. To another worker that the box
names there is a tunnel of its own, for the one port where pieces of models are given.
"""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network
from urllib.parse import urlsplit

from appliance.enrolment.contract import WorkerConfig
from appliance.enrolment.pinned import Address
from appliance.errors import NotTrusted
from appliance.handout.contract import Link
from appliance.host import FirewallKind, FirewallLink, FirewallPlan, Peer, TunnelPlan
from appliance.settings import TUNNEL_NETWORK, WORKER_ENGINE_PORTS, WORKER_HANDOUT_PORT, WORKER_PART_PORTS


class GreedyConfig(NotTrusted):
    """The box's configuration would draw traffic into the tunnel that is none of its business."""

    code = "greedy_config"


def worker_tunnel(config: WorkerConfig, interface: str, links: Sequence[Link] = ()) -> TunnelPlan:
    """The box as a peer, and the linked workers, each with its one address. Raises GreedyConfig."""
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
            *(
                Peer(
                    public_key=link.public_key,
                    allowed_ips=(IPv4Network(link.tunnel_address),),
                    endpoint=link.endpoint,
                )
                for link in permitted_links(config, links)
            ),
        ),
    )


def permitted_links(config: WorkerConfig, links: Sequence[Link]) -> tuple[Link, ...]:
    """Those that can take nothing from the box, from ourselves or from each other."""
    network, taken = IPv4Network(TUNNEL_NETWORK), {config.tunnel_address, config.box_tunnel_address}
    keys, permitted = {config.box_public_key}, []
    for link in links:
        if (
            link.tunnel_address in network
            and link.tunnel_address not in taken
            and link.public_key not in keys
        ):
            taken.add(link.tunnel_address)
            keys.add(link.public_key)
            permitted.append(link)
    return tuple(permitted)


def report_address(config: WorkerConfig) -> Address:
    """Host and port of the box's front inside the tunnel."""
    return str(config.box_tunnel_address), urlsplit(config.report_url).port or 443


def worker_firewall(
    config: WorkerConfig, interface: str, box_port: int, links: Sequence[Link] = ()
) -> FirewallPlan:
    """The box may call our engines and our part of a split model; we may call its front; a linked worker
    gives or takes pieces.

    No more addresses are guarded than these: the PC's own network may use the rest of the range.
    """
    permitted = permitted_links(config, links)
    addresses = (
        config.tunnel_address,
        config.box_tunnel_address,
        *(link.tunnel_address for link in permitted),
    )
    return FirewallPlan(
        interface=interface,
        kind=FirewallKind.WORKER,
        own_address=config.tunnel_address,
        others=(config.box_tunnel_address,),
        offered_ports=(*WORKER_ENGINE_PORTS, *WORKER_PART_PORTS),
        called_ports=(box_port,),
        links=tuple(
            FirewallLink(
                address=link.tunnel_address,
                offered_ports=(WORKER_HANDOUT_PORT,) if link.takes else (),
                called_ports=(WORKER_HANDOUT_PORT,) if link.gives else (),
            )
            for link in permitted
        ),
        guarded=tuple(map(IPv4Network, addresses)),
    )
