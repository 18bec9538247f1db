"""Listening to what a machine says on the office's LAN: each frame that its network card sends, and its kind.

    with Eavesdropper(office, box.mac) as ear:
        ...
        print(ear.heard(since=ear.started_at))

The kinds that may leave an idle box are the table ALLOWED; everything else is named so that a person knows
what to look for.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from tests.image.office import Office

_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL, linux/if_ether.h
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1  # linux/if_packet.h
_ARP, _IPV4 = 0x0806, 0x0800
_UDP = 17
_MDNS_GROUP, _MDNS_PORT = IPv4Address("224.0.0.251"), 5353
_DHCP_CLIENT, _DHCP_SERVER = 68, 67
_PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", _UDP: "UDP"}
_ETHERTYPES = {0x86DD: "IPv6", 0x88CC: "LLDP", 0x8100: "VLAN", 0x888E: "802.1X"}


@dataclass(frozen=True)
class Datagram:
    """An IPv4 packet's header, with the ports of UDP and TCP (0 elsewhere)."""

    protocol: int
    source: IPv4Address
    target: IPv4Address
    ttl: int
    source_port: int = 0
    target_port: int = 0

    def __str__(self) -> str:
        name = _PROTOCOLS.get(self.protocol, f"IPv4 protocol {self.protocol}")
        if not self.target_port:
            return f"{name} to {self.target}"
        return f"{name} from port {self.source_port} to {self.target} port {self.target_port}"


@dataclass(frozen=True)
class Allowed:
    """A kind of frame that may leave an idle box, and why it must."""

    reason: str
    fits: Callable[[int, Datagram | None], bool]


ALLOWED = {
    "ARP": Allowed(
        "tells the LAN which card has the box's address (RFC 826)", lambda ethertype, _: ethertype == _ARP
    ),
    "DHCP": Allowed(
        "asks for the box's own address and renews it (RFC 2131)",
        lambda _, packet: (
            packet is not None
            and packet.protocol == _UDP
            and (packet.source_port, packet.target_port) == (_DHCP_CLIENT, _DHCP_SERVER)
        ),
    ),
    "mDNS": Allowed(
        "tells people and workers where the box is, on this link only (RFC 6762: group, port and TTL)",
        lambda _, packet: (
            packet is not None
            and packet.protocol == _UDP
            and (packet.source_port, packet.target_port) == (_MDNS_PORT, _MDNS_PORT)
            and packet.target == _MDNS_GROUP
            and packet.ttl == 255
        ),
    ),
}
"""No IPv6, so none of its neighbour discovery. No IGMP either: the group of mDNS is one of those that
switches pass on without being asked to (RFC 4541, section 2.1.2)."""


def kind_of(frame: bytes) -> str:
    """The name of its row in ALLOWED; of any other frame a description, which is in no row."""
    ethertype = int.from_bytes(frame[12:14], "big")
    packet = _datagram(frame[14:]) if ethertype == _IPV4 else None
    for name, allowed in ALLOWED.items():
        if allowed.fits(ethertype, packet):
            return name
    return str(packet) if packet else _ETHERTYPES.get(ethertype, f"ethertype {ethertype:#06x}")


def _datagram(packet: bytes) -> Datagram | None:
    """RFC 791; None for what is cut short. Of a fragment other than the first the ports stay 0."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    header_bytes, fragment = (packet[0] & 15) * 4, int.from_bytes(packet[6:8], "big") & 0x1FFF
    protocol, ttl = packet[9], packet[8]
    source, target = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    rest = packet[header_bytes:]
    if protocol not in {6, _UDP} or fragment or len(rest) < 4:
        return Datagram(protocol, source, target, ttl)
    return Datagram(protocol, source, target, ttl, *struct.unpack("!HH", rest[:4]))


@dataclass(frozen=True)
class Heard:
    """One frame; `at` is of time.monotonic."""

    at: float
    kind: str
    frame: bytes

    @property
    def is_allowed(self) -> bool:
        return self.kind in ALLOWED


class Eavesdropper:
    """Hears all that the card `mac` sends on the LAN's bridge, from entering to leaving."""

    def __init__(self, office: Office, mac: str) -> None:
        self._sender = bytes.fromhex(mac.replace(":", ""))
        self._office = office
        self._heard: list[Heard] = []
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        with self._office.inside("lan"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
            bridge = socket.if_nametoindex("lan")
        self._socket.bind(("lan", 0))
        # else the bridge keeps to itself what goes from one of its ports straight to another
        self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8x", bridge, _PROMISCUOUS, 0))
        self._socket.settimeout(0.5)
        self.started_at = time.monotonic()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join(5)
        self._socket.close()

    def heard(self, since: float) -> list[Heard]:
        """What was sent at `since` or later."""
        assert self._thread.is_alive(), "nobody listens"
        return [each for each in tuple(self._heard) if each.at >= since]

    def quiet_seconds(self) -> float:
        """Since the last frame that an idle box may not send, or since the start."""
        last = next((each.at for each in reversed(tuple(self._heard)) if not each.is_allowed), None)
        return time.monotonic() - (last or self.started_at)

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                frame = self._socket.recv(65_535)
            except TimeoutError:
                continue
            if frame[6:12] == self._sender:
                self._heard.append(Heard(time.monotonic(), kind_of(frame), frame))
