"""Looking now and then which servers the owner of this machine runs, for the box to offer their adoption.

In a thread of its own, for a port that says nothing takes its time.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable

from appliance.engines.adopted.finding import FoundAt, find_servers
from appliance.engines.adopted.servers import USUAL_PORTS
from appliance.enrolment.contract import FoundModel, FoundServer

log = logging.getLogger(__name__)

SEARCH_EVERY_SECONDS = 30.0
MOST_SERVERS = 8
MOST_MODELS = 24


class ServerSearch:
    """Searches until `stop`. `found` is what the last search found."""

    def __init__(self, ports: Iterable[int] = USUAL_PORTS) -> None:
        self._ports = tuple(ports)
        self._found: tuple[FoundServer, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server-search", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def found(self) -> tuple[FoundServer, ...]:
        return self._found

    def ports(self) -> frozenset[int]:
        """Those of what was found."""
        return frozenset(server.port for server in self._found)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._found = as_reported(asyncio.run(find_servers(self._ports)))
            except OSError as error:
                log.warning("the search for servers failed: %s", error)
            self._stopping.wait(SEARCH_EVERY_SECONDS)


def as_reported(found: Iterable[FoundAt]) -> tuple[FoundServer, ...]:
    """What goes into a report: no more than fits, and nothing that the box would not take."""
    return tuple(
        FoundServer(
            kind=at.found.kind,
            port=at.port,
            slots=min(at.found.slots, 4096),
            needs_key=at.found.needs_key,
            models=tuple(
                FoundModel(id=claim.id, context_tokens=claim.context_tokens, is_embedding=claim.is_embedding)
                for claim in at.found.models[:MOST_MODELS]
            ),
        )
        for at in list(found)[:MOST_SERVERS]
    )
