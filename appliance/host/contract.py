"""What may be asked of the machine: verbs, each with a typed plan; applying a plan is safe to repeat.

A plan says how things should be, never what to do: applying it twice changes nothing the second time.
Everything in a plan is checked when it is made, so the process with root can take it from an
unprivileged caller: an interface is a plain name, a key is 32 bytes, an address is an address. No
private key is ever in a plan or an answer; each host keeps its own and tells only the public half.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Protocol, Self

from pydantic import Field, model_validator

from appliance.errors import Broken, NotTrusted, Refused, TryAgain
from appliance.host.machine import (
    DiskInstallStatus,
    DiskName,
    InstallPlan,
    InstallStatus,
    MachinePlan,
    MachineStatus,
    Slot,
)
from appliance.host.nas import AgeText, NasPlan
from appliance.host.plan import Endpoint, InterfaceName, Plan, Port, PublicKey
from appliance.host.support import SupportPlan, SupportStatus


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


class NotFound(Refused):
    """What the verb is about isn't there: a stick, a disk, a change on trial."""

    code = "host_not_found"
    http_status = 404


class Busy(Refused):
    """Something of the same kind is running and must end first."""

    code = "host_busy"
    http_status = 409


class BundleNotTrusted(NotTrusted):
    """A release's bundle is signed by somebody else than the vendor whom this box believes."""

    code = "bundle_not_trusted"


class HostFailed(Broken):
    """A program of the machine refused what should have worked; its own words are in the sentence."""

    code = "host_failed"


BROKER_ERRORS = (NotPermitted, InvalidPlan, Unsupported, NotFound, Busy, BundleNotTrusted, HostFailed)
"""What a verb can refuse with, wherever it runs."""


class HostUnavailable(TryAgain):
    """The broker doesn't answer on its socket; only who asks over it can meet this."""

    code = "host_unavailable"
    http_status = 503


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


class FirewallLink(Plan):
    """Another worker: which TCP ports of ours it may call, which of its we may, and nothing beside these."""

    address: IPv4Address
    offered_ports: tuple[Port, ...] = ()
    called_ports: tuple[Port, ...] = ()


class FirewallPlan(Plan):
    """Who may say what through a tunnel; whatever isn't named is dropped, in both directions.

    `others` are the tunnel addresses that packets may come from; `offered_ports` are the TCP ports of
    our own tunnel address that they may call, `called_ports` those of theirs that we may. `links` are
    addresses with ports of their own, none of which is among the others. `guarded` is what belongs to the
    tunnel alone: nothing from or to it passes any other interface.
    """

    interface: InterfaceName
    kind: FirewallKind
    own_address: IPv4Address
    others: tuple[IPv4Address, ...] = ()
    offered_ports: tuple[Port, ...] = ()
    called_ports: tuple[Port, ...] = ()
    links: tuple[FirewallLink, ...] = Field(default=(), max_length=16)
    guarded: tuple[IPv4Network, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _links_stand_apart(self) -> Self:
        if self.links and self.kind is FirewallKind.BOX:
            raise ValueError("only workers are linked with each other")
        if {link.address for link in self.links} & {*self.others, self.own_address}:
            raise ValueError("a link is to an address that has no other rights")
        return self


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


class Tunnels(Protocol):
    """Tunnels and their firewall, on the box and on workers. Each verb raises one of BROKER_ERRORS."""

    def ensure_wireguard_key(self) -> str:
        """The public key, base64; the private one is made at the first call and never leaves the host."""

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        """Makes the interface and its peers as planned, starting it if it is gone."""

    def apply_firewall(self, plan: FirewallPlan) -> None:
        """Replaces the rules of the plan's interface in one step."""

    def cut(self, interface: InterfaceName, addresses: tuple[IPv4Address, ...]) -> None:
        """Drops these tunnel addresses now: packets, peers and open connections."""

    def tunnel_status(self, interface: InterfaceName) -> TunnelStatus:
        """How the interface is now."""

    def remove_tunnel(self, interface: InterfaceName) -> None:
        """Takes away the interface, its rules and what was remembered of its peers."""


class Machine(Protocol):
    """The box as a whole; anywhere else each verb raises Unsupported. Each raises one of BROKER_ERRORS."""

    def apply_machine(self, plan: MachinePlan, trial: bool = False) -> None:
        """Name, clock, network and allowed connections outward, now and at every start of the box.

        On trial they hold until `undo_trial` or the broker's next start, unless `keep_trial` comes first.
        """

    def serve_certificate(
        self, certificate_pem: str | None, key_pem: str | None, trial: bool = False
    ) -> None:
        """The company's certificate (chain, leaf first) and key for HTTPS; both None: the box's own."""

    def keep_trial(self) -> None:
        """What is on trial is kept. Raises NotFound when nothing is."""

    def undo_trial(self) -> None:
        """Back to what was kept; nothing on trial is fine."""

    def machine_plan(self) -> MachinePlan:
        """The plan that is kept; the default one before the first."""

    def machine_status(self) -> MachineStatus:
        """The box as it is now."""

    def reboot(self) -> None:
        """Restarts the box in good order; answers before it goes."""

    def power_off(self) -> None:
        """Turns the box off in good order; answers before it goes."""

    def slots(self) -> tuple[Slot, ...]:
        """Both slots, a first."""

    def install_release(self, plan: InstallPlan) -> None:
        """Begins to install in the slot that isn't running, and returns. Raises Busy while one runs."""

    def install_status(self) -> InstallStatus:
        """The install that runs, or how the last one ended."""

    def make_recovery_key(self) -> str:
        """A new recovery key of the data partition; the former one opens nothing from then on."""

    def factory_reset(self) -> None:
        """Destroys the keys of the data (or, unencrypted, the data), then restarts as a new box."""

    def install_to_disk(self, disk: DiskName, force: bool = False) -> None:
        """Begins to make `disk` a box like this one, without its data, and returns.

        All that is on `disk` is lost. Raises NotFound; Busy; InvalidPlan for the disk that the box runs
        from, one in use, one too small, and, unless forced, one that can be unplugged.
        """

    def disk_install_status(self) -> DiskInstallStatus:
        """The install that runs, or how the last one since the broker's start ended."""

    def mount_stick(self) -> str:
        """Mounts a USB stick, read-only; where its files lie now. Raises NotFound without one."""

    def release_stick(self) -> None:
        """The stick may be unplugged; none is fine."""


class Safekeeping(Protocol):
    """What backups need. Each verb raises one of BROKER_ERRORS."""

    def seal_wireguard_key(self, recipient: AgeText) -> str:
        """The private key of the tunnels, encrypted for an age recipient: what a backup holds of it."""

    def replace_wireguard_key(self, sealed: str | None, identity: AgeText | None) -> None:
        """Opens a sealed key and uses it from the next tunnel plan on; both None: the one before it again.

        Raises InvalidPlan when `identity` doesn't open it, NotFound when there was none before.
        """

    def mount_nas(self, plan: NasPlan) -> str:
        """Mounts a NAS folder for the service user, in place of another; where its files lie now.

        One that is mounted by the same plan stays as it is: somebody may be at work in it.
        """

    def unmount_nas(self) -> None:
        """Takes the NAS folder away; none is fine."""


class Support(Protocol):
    """The tunnel of a support session; at most one is open. Each verb raises one of BROKER_ERRORS."""

    def open_support(self, plan: SupportPlan) -> str:
        """Opens the tunnel until `plan.until`; the box's one-time public key. Raises Busy, InvalidPlan.

        It ends by itself, whatever becomes of who opened it, and with a restart of the box or of the broker.
        """

    def close_support(self) -> None:
        """Ends the session now: packets, connections, the service that answered them. None open is fine."""

    def support_status(self) -> SupportStatus:
        """The session that is open."""


class Host(Tunnels, Machine, Safekeeping, Support, Protocol):
    """Everything that needs root."""
