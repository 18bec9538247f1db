"""The box tells the LAN who it is by multicast DNS (RFC 6762): its names for people, its service for workers.

`cellule.local`, and the name that an admin gave, belong to whoever has them already: before one is announced
the LAN is asked, and one that another host turns out to use as well is given up at once. Of two boxes turned
on at the same moment both give it up and ask again after pauses that differ, so one gets it. The name made
from the box's key is never given up: nobody can make us rename by claiming ours first.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic, sleep

from zeroconf import (
    Error,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)
from zeroconf._dns import DNSAddress, DNSQuestion
from zeroconf._protocol.outgoing import DNSOutgoing

from appliance.enrolment.discovery import SERVICE_TYPE
from appliance.enrolment.lan import is_of_lan, lan_addresses
from appliance.errors import Refusal
from appliance.host import brokered
from appliance.settings import Settings

log = logging.getLogger("cellule.discovery")
PAGES_TYPE = "_https._tcp.local."
PROBE_SECONDS = 0.75
"""RFC 6762, section 8.1."""
RETRY_SECONDS = (2.0, 12.0)
"""The pause after a name was given up."""
RECHECK_SECONDS = 600.0
"""The pause after another host answered for it."""
_REGISTER_SECONDS = 5.0
# RFC 1035, sections 3.2 and 4.1.1
_QUERY, _TYPE_A, _CLASS_IN = 0, 1, 1


class Rivals(RecordUpdateListener):
    """Hears who else answers for `names`; those that somebody does are in `lost`."""

    def __init__(self, own_addresses: Iterable[str]) -> None:
        self._own = {socket.inet_aton(address) for address in own_addresses}
        self.names: set[str] = set()
        self.lost: set[str] = set()

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for record in (update.new for update in records):
            name = record.name.lower().removesuffix(".")
            # four bytes: an IPv6 address of our own is no rival's
            if (
                isinstance(record, DNSAddress)
                and len(record.address) == 4
                and record.ttl
                and name in self.names
                and record.address not in self._own
            ):
                self.lost.add(name)


class Announcer:
    """Announces the box as long as it lives. Call `refresh` now and then: networks and names come and go."""

    def __init__(
        self,
        settings: Settings,
        *,
        given_name: Callable[[], str | None] | None = None,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        # here and not above: the certificate asks for the names, and the names for the certificate's key
        from appliance.claim.certificate import certificate_pin
        from appliance.claim.names import unique_name

        self._settings = settings
        self._ask_given_name = given_name or (lambda: host_name(settings))
        self._given_name = ""
        self._retry_seconds, self._recheck_seconds = retry_seconds, recheck_seconds
        self._unique = unique_name(settings)
        self._label = f"cellule-{certificate_pin(settings)[:4].hex()}"
        self._announced: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._zeroconf: Zeroconf | None = None
        self._held: dict[str, ServiceInfo] = {}
        self._rivals = Rivals(())
        self._ask_again_at = 0.0

    def refresh(self) -> None:
        """Announces anew what changed since the last call. Never raises: it is tried again."""
        addresses = _announced_addresses(self._settings)
        wanted = addresses, self._wanted_names()
        try:
            if wanted != self._announced:
                self.close()
                if addresses:
                    self._announce(*wanted)
            elif self._zeroconf is not None:
                self._settle_names(wanted[1])
        except (OSError, Error, TimeoutError) as error:
            log.warning("the box could not be announced at %s: %s", ", ".join(addresses), error)
            self.close()

    def close(self) -> None:
        """Says goodbye; takes a quarter of a second."""
        if self._zeroconf is not None:
            self._zeroconf.close()
        self._zeroconf, self._announced, self._held = None, None, {}

    def _wanted_names(self) -> tuple[str, ...]:
        """Those that may belong to another host, best first."""
        from appliance.claim.names import SHARED_NAME

        given = self._ask_given_name()
        if given is not None:
            self._given_name = given
        return tuple(dict.fromkeys(name for name in (self._given_name, SHARED_NAME) if name))

    def _announce(self, addresses: tuple[str, ...], names: tuple[str, ...]) -> None:
        self._zeroconf = Zeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
        self._rivals = Rivals(addresses)
        self._zeroconf.add_listener(self._rivals, None)
        # the LAN isn't asked about this one: the name is made from our key, so it is ours
        self._register(self._info(SERVICE_TYPE, self._label, self._unique))
        self._announced = addresses, names
        self._ask_again_at = 0.0
        self._settle_names(names)

    def _settle_names(self, names: tuple[str, ...]) -> None:
        """Gives up what another host answers for, and takes what nobody does."""
        assert self._zeroconf is not None
        for name in sorted(self._rivals.lost & set(self._held)):
            log.warning("another host answers to %s: it is given up", name)
            self._unregister(name)
            self._ask_again_at = monotonic() + random.uniform(*self._retry_seconds)
        missing = [name for name in names if name not in self._held]
        if missing and monotonic() >= self._ask_again_at:
            self._ask_again_at = monotonic() + self._recheck_seconds
            taken = self._taken(missing)
            for name in missing:
                if name not in taken:
                    self._take(name)
        self._tell(names)

    def _taken(self, names: list[str]) -> set[str]:
        """Those that another host answers for now."""
        zeroconf = self._zeroconf
        assert zeroconf is not None
        self._rivals.lost.difference_update(names)
        self._rivals.names.update(names)
        for unicast in (True, False, False):
            zeroconf.send(_questions(names, unicast=unicast))
            sleep(PROBE_SECONDS / 3)
        return self._rivals.lost & set(names)

    def _take(self, name: str) -> None:
        self._held[name] = self._info(PAGES_TYPE, name.removesuffix(".local"), name)
        self._register(self._held[name])

    def _unregister(self, name: str) -> None:
        assert self._zeroconf is not None
        self._run(self._zeroconf.async_unregister_service(self._held.pop(name)))

    def _tell(self, names: tuple[str, ...]) -> None:
        from appliance.claim.names import tell_names

        held = tuple(name for name in names if name in self._held)
        tell_names(self._settings, (*held, self._unique))

    def _info(self, service_type: str, label: str, name: str) -> ServiceInfo:
        """A service on the host `name`; with it comes the host's address record."""
        return ServiceInfo(
            service_type,
            f"{label}.{service_type}",
            port=self._settings.port,
            server=f"{name}.",
            parsed_addresses=list(_announced_addresses(self._settings)),
        )

    def _register(self, info: ServiceInfo) -> None:
        assert self._zeroconf is not None
        self._run(self._zeroconf.async_register_service(info, cooperating_responders=True))
        log.info("announced as %s", info.server)

    def _run(self, work: Coroutine[object, object, object]) -> None:
        assert self._zeroconf is not None and self._zeroconf.loop is not None
        asyncio.run_coroutine_threadsafe(work, self._zeroconf.loop).result(_REGISTER_SECONDS)


def _questions(names: list[str], *, unicast: bool) -> DNSOutgoing:
    """A query for the addresses of `names`. The library's resolvers would believe their cache."""
    query = DNSOutgoing(_QUERY)
    for name in names:
        question = DNSQuestion(f"{name}.", _TYPE_A, _CLASS_IN)
        question.unicast = unicast
        query.add_question(question)
    return query


def host_name(settings: Settings) -> str | None:
    """The name that an admin gave the box, as mDNS tells it; "" where the machine is not the box's own.

    None while the broker is away. The kernel isn't asked: a sandboxed service keeps the name of its start.
    """
    if not settings.appliance:
        return ""
    try:
        return f"{brokered(settings).machine_plan().hostname}.local"
    except Refusal:
        return None


def _announced_addresses(settings: Settings) -> tuple[str, ...]:
    if settings.listen_host == "0.0.0.0":  # noqa: S104
        return lan_addresses()
    return (settings.listen_host,) if is_of_lan(settings.listen_host) else ()
