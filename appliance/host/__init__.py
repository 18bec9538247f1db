"""The only door to the machine: tunnels and firewall as typed verbs, on Linux or on its simulated twin.

What needs root is a verb of `Host`. On the box one process has root, the broker; the others hold a
`Host` that asks it. A worker's agent has root itself and uses the machine directly.
"""

from appliance.host.choice import brokered, own_machine, this_machine
from appliance.host.contract import (
    FirewallKind,
    FirewallPlan,
    Host,
    HostFailed,
    HostUnavailable,
    InvalidPlan,
    NotPermitted,
    Peer,
    PeerStatus,
    TunnelKind,
    TunnelPlan,
    TunnelStatus,
    Unsupported,
)

__all__ = [
    "FirewallKind",
    "FirewallPlan",
    "Host",
    "HostFailed",
    "HostUnavailable",
    "InvalidPlan",
    "NotPermitted",
    "Peer",
    "PeerStatus",
    "TunnelKind",
    "TunnelPlan",
    "TunnelStatus",
    "Unsupported",
    "brokered",
    "own_machine",
    "this_machine",
]
