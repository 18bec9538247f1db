"""What the pool costs beside nginx as a bare proxy and LiteLLM's proxy, measured in one run.

CPU time, user and system, of the gateway's own processes, for whole answers and for streamed chunks, and
of what they do a second after the last one; the figures are medians of interleaved rounds, so that a busy
machine disturbs all alike. All are given the same requests over kept connections, by one worker each, none
tied to a processor. Then a thousand streams at once through the pool: none may break, and their memory is
bounded.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.gateway_peers import Peer, cellule, litellm, nginx, temporary_folder, upstream

ROUNDS = 3
REQUESTS = {"nginx": 40_000, "cellule": 15_000, "litellm": 250}
STREAMS = {"nginx": (200, 150, 20), "cellule": (200, 150, 20), "litellm": (20, 60, 20)}
"""Streams at once, chunks of each, milliseconds between them."""
CONNECTIONS = 32
MANY = (1000, 60, 100)
AFTERWARDS_SECONDS = 1.0
"""Ledgers, logs and counts are written after the answers, and belong to them."""

WORK = """\
every gateway: one worker, the same requests over kept connections, user + system CPU of all its processes
nginx:   no keys, no usage, no log
litellm: master key, router, cost of each request, Prometheus metrics; no database, no line a request
cellule: hashed keys, queue, router, usage, Prometheus metrics; a ledger on disk and a log line a request"""

MOST_TIMES_NGINX = {"request": 7.0, "chunk": 2.0}
LEAST_TIMES_LITELLM = {"request": 100.0, "chunk": 14.0}
MOST_MEGABYTES_A_THOUSAND_STREAMS = 30.0


@dataclass(frozen=True)
class Load:
    """What one run of the load generator saw."""

    answered: int
    chunks: int
    broken: int
    seconds: float


def load(peer: Peer, mode: str, *numbers: int) -> Load:
    command = [sys.executable, "-m", "tests.bench.gateway_load", str(peer.port), peer.key, mode]
    done = subprocess.run(
        [*command, *(str(number) for number in numbers)], stdout=subprocess.PIPE, check=True, timeout=300
    )
    return Load(**json.loads(done.stdout))


def microseconds(peer: Peer, unit: str) -> float:
    """CPU microseconds of the gateway for one request or one chunk."""
    before = peer.cpu_seconds()
    if unit == "request":
        seen = load(peer, "requests", CONNECTIONS, REQUESTS[peer.name])
        count = seen.answered
    else:
        seen = load(peer, "streams", *STREAMS[peer.name])
        count = seen.chunks
    if seen.broken or not count:
        raise RuntimeError(f"{peer.name}: {seen}")
    time.sleep(AFTERWARDS_SECONDS)
    return (peer.cpu_seconds() - before) / count * 1e6


def compare(peers: list[Peer]) -> dict[str, dict[str, float]]:
    """unit → gateway → CPU microseconds, the median of the rounds."""
    result: dict[str, dict[str, float]] = {}
    for unit in ("request", "chunk"):
        for peer in peers:  # warm: connections, caches, code
            microseconds(peer, unit) if peer.name == "litellm" else load(peer, "requests", CONNECTIONS, 500)
        rounds = [[microseconds(peer, unit) for peer in peers] for _ in range(ROUNDS)]
        medians = (statistics.median(of_peer) for of_peer in zip(*rounds, strict=True))
        result[unit] = dict(zip((peer.name for peer in peers), medians, strict=True))
    return result


def many_streams(peer: Peer) -> tuple[Load, float]:
    """A thousand streams at once, and the megabytes they took at most."""
    load(peer, "streams", 50, 20, 10)
    before = most = peer.resident_bytes()
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, peer.resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seen = load(peer, "streams", *MANY)
    finally:
        ended.set()
        watcher.join()
    return seen, (most - before) / 1e6 * 1000 / MANY[0]


def main() -> bool:
    """Prints the figures; returns whether every target was met."""
    met = True
    print(WORK)
    with ExitStack() as stack:
        folders = [stack.enter_context(temporary_folder()) for _ in range(3)]
        port = stack.enter_context(upstream())
        ours = stack.enter_context(cellule(port, folders[1]))
        streams, megabytes = many_streams(ours)
        peers = [
            stack.enter_context(nginx(port, folders[0])),
            ours,
            stack.enter_context(litellm(port, folders[2])),
        ]
        for unit, costs in compare(peers).items():
            over, under = costs["cellule"] / costs["nginx"], costs["litellm"] / costs["cellule"]
            good = over <= MOST_TIMES_NGINX[unit] and under >= LEAST_TIMES_LITELLM[unit]
            met &= good
            print(
                f"CPU a {unit}: nginx {costs['nginx']:.1f}, cellule {costs['cellule']:.1f}, "
                f"litellm {costs['litellm']:.0f} us; "
                f"{over:.2f} x nginx (at most {MOST_TIMES_NGINX[unit]:g}), "
                f"{under:.0f} x less than litellm (at least {LEAST_TIMES_LITELLM[unit]:g})"
                f"{'' if good else '  MISSED'}"
            )
    whole = streams.answered == MANY[0] and not streams.broken
    good = whole and megabytes <= MOST_MEGABYTES_A_THOUSAND_STREAMS
    print(
        f"{MANY[0]} streams at once: {streams.answered} whole, {streams.broken} broken, "
        f"{megabytes:.1f} MB for a thousand (at most {MOST_MEGABYTES_A_THOUSAND_STREAMS:g})"
        f"{'' if good else '  MISSED'}"
    )
    return met and good
