"""The only door to the machine: tunnels, firewall and the box itself as typed verbs, on Linux or simulated.

What needs root is a verb of `Host`. On the box one process has root, the broker; the others hold a
`Host` that asks it. A worker's agent has root itself and uses the machine directly.

What reads certificates is loaded when it is first asked for (PEP 562): few processes look at one.
"""

import importlib
from typing import TYPE_CHECKING

from appliance.host.choice import brokered, own_machine, this_machine
from appliance.host.contract import (
    BundleNotTrusted,
    Busy,
    FirewallKind,
    FirewallLink,
    FirewallPlan,
    Host,
    HostFailed,
    HostUnavailable,
    InvalidPlan,
    NotFound,
    NotPermitted,
    Peer,
    PeerStatus,
    TunnelKind,
    TunnelPlan,
    TunnelStatus,
    Unsupported,
)
from appliance.host.machine import (
    AddressMethod,
    DataStatus,
    Disk,
    DiskInstallState,
    DiskInstallStatus,
    InstallPlan,
    InstallState,
    InstallStatus,
    Interface,
    MachinePlan,
    MachineStatus,
    NetworkPlan,
    Outbound,
    Protocol,
    Slot,
    SlotState,
)
from appliance.host.nas import NasKind, NasPlan
from appliance.host.support import SUPPORT_PORT, SupportPlan, SupportStatus

if TYPE_CHECKING:
    from appliance.host.certificate import (
        CertificateFacts,
        InvalidCertificate,
        check_certificate,
        read_certificate,
    )

__all__ = [
    "SUPPORT_PORT",
    "AddressMethod",
    "BundleNotTrusted",
    "Busy",
    "CertificateFacts",
    "DataStatus",
    "Disk",
    "DiskInstallState",
    "DiskInstallStatus",
    "FirewallKind",
    "FirewallLink",
    "FirewallPlan",
    "Host",
    "HostFailed",
    "HostUnavailable",
    "InstallPlan",
    "InstallState",
    "InstallStatus",
    "Interface",
    "InvalidCertificate",
    "InvalidPlan",
    "MachinePlan",
    "MachineStatus",
    "NasKind",
    "NasPlan",
    "NetworkPlan",
    "NotFound",
    "NotPermitted",
    "Outbound",
    "Peer",
    "PeerStatus",
    "Protocol",
    "Slot",
    "SlotState",
    "SupportPlan",
    "SupportStatus",
    "TunnelKind",
    "TunnelPlan",
    "TunnelStatus",
    "Unsupported",
    "brokered",
    "check_certificate",
    "own_machine",
    "read_certificate",
    "this_machine",
]

_OF_CERTIFICATES = {"CertificateFacts", "InvalidCertificate", "check_certificate", "read_certificate"}


def __getattr__(name: str) -> object:
    if name not in _OF_CERTIFICATES:
        raise AttributeError(name)
    return getattr(importlib.import_module("appliance.host.certificate"), name)
