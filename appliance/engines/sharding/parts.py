"""Where the parts of a split model are: the setting "parts" of an engine, read and refused.

    --setting parts=10.77.0.3:8020=12,10.77.0.4:8020=10

names the address of each part and how many layers it holds; the head keeps the first layers. Only the
tunnel's addresses are taken, and loopback, which leaves the machine no more than they do.
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from appliance.errors import Refused
from appliance.settings import TUNNEL_NETWORK

PARTS_SETTING = "parts"
MOST_PARTS = 15
"""llama.cpp holds 16 devices at most (GGML_RPC_MAX_SERVERS)."""
_LOOPBACK = IPv4Network("127.0.0.0/8")


class PartAddressRefused(Refused):
    """A part outside of the tunnel: whoever is on the way could read and change what is computed."""

    code = "part_address_refused"


class PartsUnreadable(Refused):
    """The setting is not a list of ADDRESS:PORT=LAYERS."""

    code = "parts_unreadable"


@dataclass(frozen=True)
class PartAddress:
    """Where a part listens for its head; one port above, it tells how it is."""

    host: IPv4Address
    port: int

    @property
    def status_port(self) -> int:
        return self.port + 1

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class PartUse:
    """A part and the number of layers that it holds."""

    address: PartAddress
    layers: int


def part_address(text: str) -> PartAddress:
    """ADDRESS:PORT of the tunnel or of loopback. Raises PartsUnreadable, PartAddressRefused."""
    host, _, port = text.rpartition(":")
    try:
        address = IPv4Address(host)
    except AddressValueError:
        raise PartsUnreadable(f"{text[:100]!r} is not ADDRESS:PORT.") from None
    # one port above it is the status
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65534):
        raise PartsUnreadable(f"{text[:100]!r} is not ADDRESS:PORT.")
    if address not in IPv4Network(TUNNEL_NETWORK) and address not in _LOOPBACK:
        raise PartAddressRefused(
            f"A part may listen inside the tunnel ({TUNNEL_NETWORK}) only, not on {address}.",
            next_step="Give the tunnel address of the node.",
        )
    return PartAddress(address, int(port))


def read_parts(setting: object) -> tuple[PartUse, ...]:
    """The parts that the setting names, in order. Raises PartsUnreadable, PartAddressRefused."""
    if not isinstance(setting, str):
        raise PartsUnreadable("The setting parts is no list of ADDRESS:PORT=LAYERS.")
    parts = tuple(_part_use(text) for text in setting.split(","))
    if len(parts) > MOST_PARTS:
        raise PartsUnreadable(f"{len(parts)} parts are named; at most {MOST_PARTS} can be used.")
    if len({part.address for part in parts}) < len(parts):
        raise PartsUnreadable("A part is named twice.")
    return parts


def write_parts(parts: tuple[PartUse, ...]) -> str:
    """The setting that `read_parts` reads."""
    return ",".join(f"{part.address}={part.layers}" for part in parts)


def _part_use(text: str) -> PartUse:
    address, _, layers = text.strip().partition("=")
    if not (layers.isascii() and layers.isdecimal() and 1 <= int(layers[:5]) <= 10_000):
        raise PartsUnreadable(f"{text[:100]!r} does not say how many layers.")
    return PartUse(part_address(address), int(layers))
