"""What may be asked of the machine: a handful of verbs, each with a typed plan, each safe to repeat.

A plan says how things should be, never what to do: applying it twice changes nothing the second time.
Everything in a plan is checked when it is made, so the process with root can take it from an
unprivileged caller: an interface is a plain name, a key is 32 bytes, an address is an address. No
private key is ever in a plan or an answer; each host keeps its own and tells only the public half.
"""

import base64
import binascii
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from appliance.errors import Broken, Refused, TryAgain


class NotPermitted(Refused):
    """The process lacks the privilege that the verb needs."""

    code = "host_not_permitted"
    http_status = 403


class InvalidPlan(Refused):
    """The plan, or the verb's name, is not one of this contract."""

    code = "host_invalid_plan"


class Unsupported(Refused):
    """The machine lacks a program or kernel feature that the verb needs."""

    code = "host_unsupported"


class HostFailed(Broken):
    """A program of the machine refused what should have worked; its own words are in the sentence."""

    code = "host_failed"


BROKER_ERRORS = (NotPermitted, InvalidPlan, Unsupported, HostFailed)
"""What a verb can refuse with, wherever it runs."""


class HostUnavailable(TryAgain):
    """The broker doesn't answer on its socket; only who asks over it can meet this."""

    code = "host_unavailable"
    http_status = 503


def _is_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a WireGuard key is base64") from error
    if len(raw) != 32:
        raise ValueError("a WireGuard key has 32 bytes")
    return text


InterfaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]
"""Also part of nftables names, hence without a dash."""
PublicKey = Annotated[str, AfterValidator(_is_key)]
Port = Annotated[int, Field(ge=1, le=65535)]
# a host name would be resolved by root, so only addresses
Endpoint = Annotated[str, Field(pattern=r"^(\d{1,3}\.){3}\d{1,3}:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$")]


class Plan(BaseModel):
    """Frozen, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(Plan):
    """The other end of a tunnel. Without an endpoint the peer must call first."""

    public_key: PublicKey
    allowed_ips: tuple[IPv4Network, ...]
    endpoint: Endpoint | None = None
    keepalive_seconds: int = Field(default=25, ge=1, le=65535)


class TunnelPlan(Plan):
    """A WireGuard interface with exactly these peers, `address` on it, and a route to what they hold."""

    interface: InterfaceName
    address: IPv4Interface
    listen_port: Port | None = None
    mtu: int = Field(default=1420, ge=1280, le=9000)
    peers: tuple[Peer, ...] = ()


class FirewallKind(StrEnum):
    """Whose side of the tunnel a firewall stands on."""

    BOX = "box"
    WORKER = "worker"


class FirewallPlan(Plan):
    """Who may say what through a tunnel; whatever isn't named is dropped, in both directions.

    `others` are the tunnel addresses that packets may come from; `offered_ports` are the TCP ports of
    our own tunnel address that they may call, `called_ports` those of theirs that we may. `guarded` is
    what belongs to the tunnel alone: nothing from or to it passes any other interface.
    """

    interface: InterfaceName
    kind: FirewallKind
    own_address: IPv4Address
    others: tuple[IPv4Address, ...] = ()
    offered_ports: tuple[Port, ...] = ()
    called_ports: tuple[Port, ...] = ()
    guarded: tuple[IPv4Network, ...] = Field(min_length=1)


class TunnelKind(StrEnum):
    """What moves the packets."""

    KERNEL = "kernel"
    WIREGUARD_GO = "wireguard-go"
    SIMULATED = "simulated"


class PeerStatus(Plan):
    """What the interface knows of one peer. `handshake_at` is epoch seconds; None before the first one."""

    public_key: PublicKey
    allowed_ips: tuple[IPv4Network, ...]
    endpoint: str | None
    handshake_at: float | None
    received_bytes: int
    sent_bytes: int


class TunnelStatus(Plan):
    """An interface as it is now, peers sorted by key; `kind` is None when it does not exist."""

    interface: InterfaceName
    kind: TunnelKind | None
    listen_port: int | None = None
    peers: tuple[PeerStatus, ...] = ()

    @property
    def is_up(self) -> bool:
        return self.kind is not None


class Host(Protocol):
    """The machine. Each verb raises one of BROKER_ERRORS."""

    def ensure_wireguard_key(self) -> str:
        """The public key, base64; the private one is made at the first call and never leaves the host."""

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        """Makes the interface and its peers as planned, starting it if it is gone."""

    def apply_firewall(self, plan: FirewallPlan) -> None:
        """Replaces the rules of the plan's interface in one step."""

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        """Drops these tunnel addresses now: packets, peers and open connections."""

    def tunnel_status(self, interface: str) -> TunnelStatus:
        """How the interface is now."""

    def remove_tunnel(self, interface: str) -> None:
        """Takes away the interface, its rules and what was remembered of its peers."""
