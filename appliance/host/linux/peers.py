"""What an interface knows of its peers, read from `wg show dump` and set by `wg syncconf`.

syncconf changes only what differs: sessions with peers that stay go on without a lost packet, which
`wg setconf` does not promise. The configuration holds the private key, so it travels on standard input.
"""

from ipaddress import IPv4Network

from appliance.host.contract import Peer, PeerStatus, TunnelPlan
from appliance.host.linux.commands import call


class Dump:
    """One reading of an interface; `private_key` stays in this process."""

    def __init__(self, text: str) -> None:
        own, *peers = [line.split("\t") for line in text.splitlines()]
        self.private_key = own[0]
        self.listen_port = int(own[2])
        self.keepalives = {fields[0]: fields[7] for fields in peers}
        self.peers = tuple(sorted((_peer(fields) for fields in peers), key=lambda peer: peer.public_key))


def read_dump(interface: str) -> Dump:
    """Raises HostFailed when there is no such interface."""
    return Dump(call("wg", "show", interface, "dump"))


def is_as_planned(dump: Dump, plan: TunnelPlan, private_key: str) -> bool:
    """Whether nothing needs to change; an endpoint may have roamed unless the plan names one."""
    if dump.private_key != private_key or plan.listen_port not in (None, dump.listen_port):
        return False
    present = {peer.public_key: peer for peer in dump.peers}
    return present.keys() == {peer.public_key for peer in plan.peers} and all(
        set(present[peer.public_key].allowed_ips) == set(peer.allowed_ips)
        and peer.endpoint in (None, present[peer.public_key].endpoint)
        and dump.keepalives[peer.public_key] == str(peer.keepalive_seconds)
        for peer in plan.peers
    )


def sync_peers(plan: TunnelPlan, private_key: str, listen_port: int, endpoints: dict[str, str]) -> None:
    """Makes the peers those of the plan; `endpoints` (key → address:port) fill in where it names none."""
    lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {listen_port}"]
    for peer in plan.peers:
        lines += _peer_lines(peer, peer.endpoint or endpoints.get(peer.public_key))
    call("wg", "syncconf", plan.interface, "/dev/stdin", stdin="\n".join(lines) + "\n")


def _peer_lines(peer: Peer, endpoint: str | None) -> list[str]:
    lines = [
        "[Peer]",
        f"PublicKey = {peer.public_key}",
        f"AllowedIPs = {', '.join(str(network) for network in peer.allowed_ips)}",
        # turning it on also sends at once: a rebuilt tunnel shakes hands without waiting for traffic
        f"PersistentKeepalive = {peer.keepalive_seconds}",
    ]
    return lines if endpoint is None else [*lines, f"Endpoint = {endpoint}"]


def _peer(fields: list[str]) -> PeerStatus:
    key, _preshared, endpoint, allowed, handshake, received, sent, _keepalive = fields
    return PeerStatus(
        public_key=key,
        allowed_ips=tuple(IPv4Network(text) for text in allowed.split(",") if "." in text),
        endpoint=None if endpoint == "(none)" else endpoint,
        handshake_at=float(handshake) or None,
        received_bytes=int(received),
        sent_bytes=int(sent),
    )
