"""A day of requests through the pool's own queue and router, in simulated time.

Admission's check of the body, the fair queue, the choice of the node, the waiting limits and what the pool
learns of each engine's speed are the pool's own code; only the clock and the engines are simulated. So a
change of the router changes what is told here.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from appliance.errors import Refusal
from appliance.placement.arrivals import HOUR, Arrival
from appliance.placement.contract import Placed, Speed
from appliance.placement.simulated_engine import SimulatedEngine
from appliance.placement.simulated_nodes import SimulatedNodes
from appliance.placement.simulated_time import run_in_simulated_time
from appliance.pool.ask import Ask, read_ask
from appliance.pool.client import Client
from appliance.pool.dispatch import Dispatch, Lease
from appliance.pool.kinds import Endpoint
from appliance.pool.limits import Limits
from appliance.pool.nodes import EngineHealth, NodeEngine
from appliance.upstream import Address

QUEUE_LIMIT = 256
"""As settings.queue_limit."""
_BYTES_A_TOKEN = 4
_PROMPT_STEP = 64


@dataclass(frozen=True)
class SimulatedNode:
    """An engine that a plan placed. `hours` when the machine is on; `node` is unique."""

    node: str
    model: str
    slots: int
    speed: Speed
    idle_watts: float = 0.0
    busy_watts: float = 0.0
    hours: tuple[float, float] = (0.0, 24.0)
    prompt_tokens: int = 0

    @classmethod
    def of(cls, placed: Placed, hours: tuple[float, float] = (0.0, 24.0)) -> "SimulatedNode":
        way = placed.way
        return cls(
            placed.node, placed.model, placed.slots, placed.speed, way.idle_watts, way.busy_watts, hours,
            way.prompt_tokens,
        )  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """One request's course, in seconds; `refused` is the code it was refused with."""

    arrival: Arrival
    node: str = ""
    queue_seconds: float = 0.0
    first_token_seconds: float = 0.0
    duration_seconds: float = 0.0
    refused: str = ""


@dataclass
class Replayed:
    """The day: each request, the longest queue, and each engine's work in seconds."""

    answers: list[Answered] = field(default_factory=list)
    longest_queue: int = 0
    busy_seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """By node and model."""


def replay(
    nodes: Sequence[SimulatedNode],
    requests: Sequence[Arrival],
    *,
    queue_limit: int = QUEUE_LIMIT,
    limits: Limits = Limits(),  # noqa: B008 frozen
) -> Replayed:
    """Runs the whole of `requests`; takes a second or two for ten thousand."""
    return run_in_simulated_time(_Day(nodes, requests, queue_limit, limits).run())


class _Anybody:
    """A client that waits as long as the pool lets it."""

    left = False
    on_leave = None


class _Day:
    def __init__(
        self, nodes: Sequence[SimulatedNode], requests: Sequence[Arrival], queue_limit: int, limits: Limits
    ) -> None:
        self._requests = requests
        self._placed = {(each.node, each.model): each for each in nodes}
        self._engines = {key: SimulatedEngine(each.speed) for key, each in self._placed.items()}
        self._nodes = SimulatedNodes(
            map(_said, nodes), limits.node_silent_seconds, limits.node_forgotten_seconds
        )
        # nothing is loaded in this day: who waits for a node that is off waits like for any other
        wait_seconds = limits.queue_wait_seconds
        self._dispatch = Dispatch(
            self._nodes, queue_limit, wait_seconds, wait_seconds, limits.load_queue_limit
        )
        self._found = Replayed()

    async def run(self) -> Replayed:
        loop = asyncio.get_running_loop()
        self._switch_on_and_off(loop)
        tasks: list[asyncio.Task[None]] = []
        for arrival in self._requests:
            await asyncio.sleep(arrival.at - loop.time())
            tasks.append(loop.create_task(self._request(arrival)))
        await asyncio.gather(*tasks)
        self._found.busy_seconds = {key: engine.busy_seconds for key, engine in self._engines.items()}
        return self._found

    def _switch_on_and_off(self, loop: asyncio.AbstractEventLoop) -> None:
        for engine in self._nodes.all:
            on, off = self._placed[engine.node, engine.model].hours
            if on > 0:
                self._switch(engine, "switched off")
                loop.call_at(on * HOUR, self._switch, engine, "")
            if off < 24:
                loop.call_at(off * HOUR, self._switch, engine, "switched off")

    def _switch(self, engine: NodeEngine, unusable: str) -> None:
        self._nodes.switch(engine, unusable)
        self._dispatch.serve_all()

    async def _request(self, arrival: Arrival) -> None:
        loop = asyncio.get_running_loop()
        ask = _ask(arrival)
        try:
            lease = self._dispatch.lease_now(ask) or await self._wait(ask, arrival)
        except Refusal as refusal:
            waited = loop.time() - arrival.at
            self._found.answers.append(Answered(arrival, queue_seconds=waited, refused=refusal.code))
            return
        given_at = loop.time()
        try:
            await self._answer(arrival, lease, given_at)
        finally:
            lease.release()

    async def _wait(self, ask: Ask, arrival: Arrival) -> Lease:
        client = cast(Client, _Anybody())
        return await self._dispatch.lease(ask, arrival.caller_id, client, on_place=self._note_queue)

    def _note_queue(self, _place: int) -> None:
        self._found.longest_queue = max(self._found.longest_queue, len(self._dispatch.queue))

    async def _answer(self, arrival: Arrival, lease: Lease, given_at: float) -> None:
        loop = asyncio.get_running_loop()
        engine = lease.engine
        first = await self._engines[engine.node, engine.model].answer(
            arrival.prompt_tokens, arrival.answer_tokens
        )
        engine.measure(arrival.answer_tokens, loop.time() - given_at)
        self._found.answers.append(
            Answered(
                arrival, engine.node, given_at - arrival.at, first - arrival.at, loop.time() - arrival.at
            )
        )


def _said(node: SimulatedNode) -> EngineHealth:
    return EngineHealth(
        node_id=node.node, node=node.node, address=Address("simulated", 1), model=node.model, ready=True,
        slots=node.slots, tokens_per_second=node.speed.together, seen_at=1.0, report={},
        prompt_tokens=node.prompt_tokens,
    )  # fmt: skip


def _ask(arrival: Arrival) -> Ask:
    return _read(arrival.model, -(-arrival.prompt_tokens // _PROMPT_STEP) * _PROMPT_STEP)


@cache
def _read(model: str, prompt_tokens: int) -> Ask:
    """As the pool reads a chat request of about that length that does not limit its answer."""
    text = "x" * (prompt_tokens * _BYTES_A_TOKEN)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": text}]})
    return read_ask(Endpoint.CHAT, body.encode())
