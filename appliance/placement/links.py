"""How long a round trip to a worker takes: the time in which TCP connects through its tunnel, smoothed.

A port where nobody listens answers as fast with a refusal, so it measures as well. A worker that does not
answer at all has no link.
"""

import socket
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from appliance.settings import WORKER_ENGINE_PORT, WORKER_PART_PORTS

ASSUMED_LINK_BYTES_PER_SECOND = 12.5e6
"""Of a link whose bandwidth nobody measured: 100 Mbit/s, what a slow office still has."""
_TIMEOUT_SECONDS = 1.0
_NEWEST_COUNTS = 0.3
_AT_ONCE = 16


class Links:
    """Round trips by node, kept from one measuring to the next."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def measure(self, addresses: Mapping[str, str]) -> dict[str, float]:
        """Seconds of a round trip to each node that answers; `addresses` are those in the tunnel."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            fresh = dict(zip(addresses, threads.map(_round_trip, addresses.values()), strict=True))
        for node, seconds in fresh.items():
            if seconds is None:
                self._seconds.pop(node, None)
            else:
                self._seconds[node] = smoothed(self._seconds.get(node), seconds)
        return self.known(addresses)

    def known(self, nodes: Iterable[str]) -> dict[str, float]:
        """As last measured."""
        return {node: self._seconds[node] for node in nodes if node in self._seconds}


def smoothed(before: float | None, fresh: float) -> float:
    return fresh if before is None else before + _NEWEST_COUNTS * (fresh - before)


def _round_trip(address: str) -> float | None:
    for port in (WORKER_ENGINE_PORT, WORKER_PART_PORTS[1]):
        started = time.perf_counter()
        try:
            socket.create_connection((address, port), timeout=_TIMEOUT_SECONDS).close()
        except ConnectionRefusedError:
            pass
        except OSError:
            continue
        return time.perf_counter() - started
    return None
