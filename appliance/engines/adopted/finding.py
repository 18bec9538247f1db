"""Looking for servers on this machine's loopback: the usual ports of each kind, all at once, a second each.

A port that takes the connection and then says nothing holds up nobody; nothing is sent but GET.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.engines.adopted.asking import Asker, Place, Reply
from appliance.engines.adopted.recognising import ASKED_PATHS, MODELS, Found, NotOne, recognise
from appliance.engines.adopted.servers import USUAL_PORTS
from appliance.upstream import UpstreamLost

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0


@dataclass(frozen=True)
class FoundAt:
    """A server and its port on loopback."""

    port: int
    found: Found


async def find_servers(ports: Iterable[int] = USUAL_PORTS) -> tuple[FoundAt, ...]:
    """What can be adopted on these ports of loopback, by port."""
    ports = sorted(set(ports))
    looked = await asyncio.gather(*(look_at(Place(LOOPBACK, port)) for port in ports))
    return tuple(
        FoundAt(port, found) for port, found in zip(ports, looked, strict=True) if isinstance(found, Found)
    )


async def look_at(place: Place, key: str = "") -> Found | NotOne:
    """What listens there."""
    asker = Asker(place, key, connect_seconds=CONNECT_SECONDS)
    try:
        return recognise(await answers_of(asker))
    finally:
        asker.close()


async def answers_of(asker: Asker) -> dict[str, Reply]:
    """The answers to ASKED_PATHS; none more is asked once the first has failed to come in time."""
    answers: dict[str, Reply] = {}
    for path in (MODELS, *(path for path in ASKED_PATHS if path != MODELS)):
        try:
            answers[path] = await asker.get(path, within_seconds=ANSWER_SECONDS)
        except UpstreamLost:
            if not answers:
                break
    return answers
