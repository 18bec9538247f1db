"""How the box itself should be, and how it is: name, clock, network, slots, disks, installs. Data only.

Everything that can be told from a plan alone is checked when it is made: names have the shape of names, a
static address leaves a host address and a gateway inside its network. Whether a time zone or a disk exists
is for the machine to say.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from appliance.host.plan import Plan, Port

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
Hostname = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""One label of RFC 1123, in small letters: mDNS answers to it as NAME.local."""
RemoteHost = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""A name or an IPv4 address."""
LinkName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$")]
"""A network card as the kernel names it, such as enp3s0."""
TimeZone = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)
]
"""A name of the IANA time zone database, such as Europe/Paris."""
DiskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{1,31}$")]
"""A whole disk as the kernel names it, such as sda or nvme0n1."""
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.~-]{0,63}$")]
"""A release. No underscore and no plus: both part the names of kernel images on the ESP."""
Percent = Annotated[int, Field(ge=0, le=100)]


class AddressMethod(StrEnum):
    """Where the box has its address from."""

    DHCP = "dhcp"
    STATIC = "static"


class NetworkPlan(Plan):
    """The wired network. `interface` None: every card. With DHCP, `dns` replaces what the LAN offers."""

    interface: LinkName | None = None
    method: AddressMethod = AddressMethod.DHCP
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = Field(default=(), max_length=3)

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.method is AddressMethod.DHCP:
            if self.address or self.gateway:
                raise ValueError("with DHCP the network gives address and gateway")
            return self
        if self.address is None:
            raise ValueError("a static address is missing")
        _check_host_address(self.address)
        if self.gateway is not None and self.gateway not in self.address.network:
            raise ValueError(f"the gateway {self.gateway} is not in {self.address.network}")
        if self.gateway == self.address.ip:
            raise ValueError("the gateway can't be the box itself")
        return self


def _check_host_address(address: IPv4Interface) -> None:
    network = address.network
    if network.prefixlen < 8 or network.prefixlen > 30:
        raise ValueError("the length of the network part must be between 8 and 30")
    if address.ip in (network.network_address, network.broadcast_address):
        raise ValueError(f"{address.ip} is the address of the network {network} itself")
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        raise ValueError(f"{address.ip} is not an address that a machine of a LAN can have")


class Protocol(StrEnum):
    """Of a connection."""

    TCP = "tcp"
    UDP = "udp"


class Outbound(Plan):
    """A connection outward that an admin enabled; `why` is shown to people."""

    host: RemoteHost
    port: Port
    protocol: Protocol = Protocol.TCP
    why: str = Field(default="", max_length=200)


class MachinePlan(Plan):
    """What an admin decides about the box as a machine. Without NTP servers, the LAN's DHCP names them."""

    hostname: Hostname = "cellule"
    timezone: TimeZone = "Etc/UTC"
    ntp_servers: tuple[RemoteHost, ...] = Field(default=(), max_length=8)
    network: NetworkPlan = Field(default_factory=NetworkPlan)
    outbound: tuple[Outbound, ...] = Field(default=(), max_length=100)


class Interface(Plan):
    """A network card; `addresses` are IPv4 with their prefix length."""

    name: str
    mac: str
    carrier: bool
    addresses: tuple[IPv4Interface, ...] = ()


class DataStatus(Plan):
    """The data partition; all zero and False when it is not mounted.

    Without encryption nothing is bound to a TPM and there is no recovery key. `tpm_bound` tells whether this
    machine's TPM opens it, not merely some TPM that it was bound to.
    """

    encrypted: bool
    tpm_bound: bool
    recovery_key: bool
    size_bytes: int
    free_bytes: int


class Disk(Plan):
    """A whole disk; `name` is what `install_to_disk` takes."""

    name: DiskName
    model: str
    size_bytes: int
    removable: bool
    is_boot_disk: bool


class MachineStatus(Plan):
    """The box as it is now. `slot` is "a" or "b", "" where there are none; `booted_at` is epoch seconds."""

    version: str
    slot: str
    hostname: str
    interfaces: tuple[Interface, ...]
    gateway: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    timezone: str
    clock_synchronised: bool
    booted_at: float
    tpm: bool
    secure_boot: bool
    data: DataStatus
    disks: tuple[Disk, ...]


class SlotState(StrEnum):
    """What systemd-boot makes of a slot.

    Good, on trial, out of tries on its trial, out of tries although it was good (its copy on the disk is
    probably damaged), or empty.
    """

    GOOD = "good"
    TRYING = "trying"
    BAD = "bad"
    NO_LONGER_STARTS = "no-longer-starts"
    EMPTY = "empty"


class Slot(Plan):
    """One of the two root file systems. `version` is "" where there is none.

    `tries_left` is None unless it is on trial.
    """

    name: str = Field(pattern=r"^[ab]$")
    version: str
    state: SlotState
    tries_left: int | None
    booted: bool


class InstallPlan(Plan):
    """A release to install in the slot that isn't running.

    `source` is an http(s) URL or an absolute path; `manifest_hash` the SHA-256 of the bundle's manifest, in
    hex: a bundle with another one is refused, whoever signed it.
    """

    source: str = Field(pattern=r"^(https?://[^\s/]+/|/)[^\s\x00]+$", max_length=2000)
    manifest_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    version: Version


class InstallState(StrEnum):
    """Of an install into a slot. INSTALLED until the box has started from that slot."""

    IDLE = "idle"
    INSTALLING = "installing"
    INSTALLED = "installed"
    FAILED = "failed"


class _Installing(Plan):
    """`step` and `error` are the installer's own words."""

    percent: Percent = 0
    step: str = ""
    error: str = ""


class InstallStatus(_Installing):
    """`version` is that of the last plan."""

    state: InstallState = InstallState.IDLE
    version: str = ""


class DiskInstallState(StrEnum):
    """Of an install of the whole box to another disk."""

    IDLE = "idle"
    COPYING = "copying"
    VERIFYING = "verifying"
    INSTALLED = "installed"
    FAILED = "failed"


class DiskInstallStatus(_Installing):
    """INSTALLED means: remove the stick and restart."""

    state: DiskInstallState = DiskInstallState.IDLE
    disk: str = ""
