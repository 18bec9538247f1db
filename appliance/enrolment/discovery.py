"""How a worker finds the box without anybody typing an address: DNS-SD over multicast DNS (RFC 6763, 6762).

What is found is a hint and nothing more: any machine of the LAN can announce itself as a box. The code's
pin decides, so a candidate that is no box costs time only. Asked and answered on the LAN's addresses alone,
never through a tunnel.
"""

import queue
from collections.abc import Iterator, Sequence
from time import monotonic

from zeroconf import IPVersion, ServiceBrowser, ServiceStateChange, Zeroconf

from appliance.enrolment.lan import lan_addresses
from appliance.enrolment.pinned import Address

SERVICE_TYPE = "_cellule._tcp.local."
_RESOLVE_SECONDS = 0.5


def find_boxes(timeout_seconds: float = 5.0, interfaces: Sequence[str] | None = None) -> Iterator[Address]:
    """Candidates for `redeem`, each once, as they are found, until `timeout_seconds` have passed.

    `interfaces` are own addresses to ask from; all of the LAN by default. The search ends when the
    iterator is exhausted, closed or dropped; don't keep one until the program exits.
    """
    own = list(interfaces if interfaces is not None else lan_addresses())
    if not own:
        return
    deadline, seen = monotonic() + timeout_seconds, set[Address]()
    names: queue.SimpleQueue[str] = queue.SimpleQueue()

    def noticed(name: str, state_change: ServiceStateChange, **_: object) -> None:
        if state_change is not ServiceStateChange.Removed:
            names.put(name)

    with Zeroconf(interfaces=own, ip_version=IPVersion.V4Only) as zeroconf:
        ServiceBrowser(zeroconf, SERVICE_TYPE, handlers=[noticed])
        while (left := deadline - monotonic()) > 0:
            try:
                name = names.get(timeout=left)
            except queue.Empty:
                return
            for candidate in _resolve(zeroconf, name):
                if candidate not in seen:
                    seen.add(candidate)
                    yield candidate


def _resolve(zeroconf: Zeroconf, name: str) -> list[Address]:
    info = zeroconf.get_service_info(SERVICE_TYPE, name, timeout=int(_RESOLVE_SECONDS * 1000))
    if info is None or not info.port:
        return []
    return [(address, info.port) for address in info.parsed_addresses(IPVersion.V4Only)]
