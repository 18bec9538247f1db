"""How a worker finds the box without anybody typing an address: DNS-SD over multicast DNS (RFC 6763, 6762).

What is found is a hint and nothing more: any machine of the LAN can announce itself as a box. The code's
pin decides, so a candidate that is no box costs time only. Asked and answered on the LAN's addresses alone,
never through a tunnel.
"""

import asyncio
import logging
import queue
from collections.abc import Iterator, Sequence
from time import monotonic

from zeroconf import Error, IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from appliance.enrolment.lan import is_of_lan, lan_addresses
from appliance.enrolment.pinned import Address
from appliance.settings import Settings

log = logging.getLogger("cellule.discovery")
SERVICE_TYPE = "_cellule._tcp.local."
_RESOLVE_SECONDS = 0.5
_REGISTER_SECONDS = 5.0


class Announcer:
    """Announces the box as long as it lives. Call `refresh` now and then: networks come and go."""

    def __init__(self, settings: Settings) -> None:
        # here and not above: workers import this module too, and have no certificate of their own
        from appliance.claim.certificate import certificate_pin

        self._settings = settings
        # two boxes in one LAN have different names, and nobody can make us rename by claiming ours first
        self._label = f"cellule-{certificate_pin(settings)[:4].hex()}"
        self._addresses: tuple[str, ...] = ()
        self._zeroconf: Zeroconf | None = None

    def refresh(self) -> None:
        """Announces anew if the addresses changed since the last call. Never raises: it is tried again."""
        addresses = _announced_addresses(self._settings)
        if addresses == self._addresses:
            return
        self.close()
        if not addresses:
            return
        try:
            self._announce(addresses)
        except (OSError, Error, TimeoutError) as error:
            log.warning("the box could not be announced at %s: %s", ", ".join(addresses), error)
            self.close()

    def close(self) -> None:
        """Says goodbye; takes a quarter of a second."""
        if self._zeroconf is not None:
            self._zeroconf.close()
        self._zeroconf, self._addresses = None, ()

    def _announce(self, addresses: tuple[str, ...]) -> None:
        self._zeroconf = Zeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
        info = ServiceInfo(
            SERVICE_TYPE,
            f"{self._label}.{SERVICE_TYPE}",
            port=self._settings.port,
            server=f"{self._label}.local.",
            parsed_addresses=list(addresses),
        )
        assert self._zeroconf.loop is not None
        # without probing for conflicts: the name is made from our key, so it is ours whoever else uses it
        registering = self._zeroconf.async_register_service(info, cooperating_responders=True)
        asyncio.run_coroutine_threadsafe(registering, self._zeroconf.loop).result(_REGISTER_SECONDS)
        self._addresses = addresses
        log.info("announced as %s at %s", self._label, ", ".join(addresses))


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


def _announced_addresses(settings: Settings) -> tuple[str, ...]:
    if settings.listen_host == "0.0.0.0":  # noqa: S104
        return lan_addresses()
    return (settings.listen_host,) if is_of_lan(settings.listen_host) else ()
