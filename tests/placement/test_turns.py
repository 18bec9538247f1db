"""An hour of two models with room for one, through the pool's own queue and placement's own rules."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import cast

import pytest

from appliance.engines.options import Kind
from appliance.errors import Refusal
from appliance.placement import fleet
from appliance.placement.contract import NodeFacts, Placed, Plan, Running, Speed, SpeedSource, Wishes
from appliance.placement.planning import plan
from appliance.placement.residency import TURN_SECONDS, Move
from appliance.placement.simulated_engine import SimulatedEngine
from appliance.placement.simulated_time import run_in_simulated_time
from appliance.placement.stepping import NodeNow, what_now
from appliance.placement.waiting import Fleet, place_waiting
from appliance.pool.ask import read_ask
from appliance.pool.client import Client
from appliance.pool.dispatch import Dispatch
from appliance.pool.kinds import Endpoint
from appliance.pool.limits import Limits
from appliance.pool.nodes import EngineHealth, Nodes
from appliance.settings import BOX_NODE
from appliance.upstream import Address
from tests.placement.fleets import as_running, cpu, model, node

HOUR_SECONDS, LOADING_SECONDS, ANSWER_TOKENS = 3600.0, 20.0, 150
SPEED = Speed(1e6, 10, 16, 2, SpeedSource.MEASURED, "in a test")
NEEDS = {"busy": model("busy", 4), "rare": model("rare", 4)}
BOX = node(BOX_NODE, cpu(4, parallel=2), is_box=True)
LIMITS = Limits()


class Loaded:
    def __init__(self, placed: Placed, at: float) -> None:
        self.placed = placed
        self.engine = SimulatedEngine(SPEED)
        self.ready_at = at + LOADING_SECONDS
        self.last_answer_at = self.ready_at


class Hour:
    """The box loads what placement says, and unloads nothing that is in use."""

    def __init__(self) -> None:
        self.nodes = Nodes(LIMITS.node_silent_seconds, LIMITS.node_forgotten_seconds)
        self.dispatch = Dispatch(
            self.nodes, 256, LIMITS.queue_wait_seconds, LIMITS.load_wait_seconds, LIMITS.load_queue_limit
        )
        self.dispatch.take_models(dict.fromkeys(NEEDS, Kind.TEXT), {})
        self.loaded: dict[str, Loaded] = {}
        self.planned = {BOX_NODE: list(plan([BOX], [NEEDS["busy"]]).placed)}
        self.answered: Counter[str] = Counter()
        self.refused: list[str] = []
        self.turns: list[float] = []
        self.longest_wait: Counter[str] = Counter()

    async def run(self, users: Sequence[str]) -> "Hour":
        tasks = [asyncio.create_task(self.ask(f"{number}", name)) for number, name in enumerate(users)]
        while asyncio.get_running_loop().time() < HOUR_SECONDS:
            self.look()
            await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self

    async def ask(self, caller: str, name: str) -> None:
        """Without a pause."""
        loop = asyncio.get_running_loop()
        body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
        ask = read_ask(Endpoint.CHAT, json.dumps(body).encode())
        while True:
            asked_at = loop.time()
            client = cast(Client, type("Anybody", (), {"left": False, "on_leave": None})())
            try:
                lease = self.dispatch.lease_now(ask) or await self.dispatch.lease(
                    ask, caller, client, on_place=lambda _: None
                )
            except Refusal as refusal:
                self.refused.append(f"{name}: {refusal.code}")
                await asyncio.sleep(10)
                continue
            self.longest_wait[name] = max(self.longest_wait[name], int(loop.time() - asked_at))
            await self.loaded[name].engine.answer(1, ANSWER_TOKENS)
            lease.release()
            self.answered[name] += 1
            self.loaded[name].last_answer_at = loop.time()

    def look(self) -> None:
        at = asyncio.get_running_loop().time()
        now = self.now(at)
        self.nodes.making_way = {(BOX_NODE, step.model) for step in now.steps if step.move is Move.DRAIN}
        told = {each.model: each for each in now.have}
        for name in self.loaded.keys() - told.keys() - {each.model for each in now.keep}:
            assert not self.in_flight(name), "an answer would be cut"
            self.turns.append(at - self.loaded.pop(name).ready_at)
        for name in told.keys() - self.loaded.keys():
            self.loaded[name] = Loaded(told[name], at)
        self.nodes.keep_only(BOX_NODE, {Address(name, 1) for name in self.loaded})
        self.nodes.update([_health(each, at) for each in self.loaded.values()], {BOX_NODE}, at)
        self.dispatch.serve_all()

    def now(self, at: float) -> NodeNow:
        running = [self.running(each, at) for each in self.loaded.values()]
        waiting = self.dispatch.queue.lengths()
        waited = fleet.waited_seconds(waiting, running, at)

        def settle(where: NodeFacts, placed: Sequence[Placed]) -> NodeNow:
            return what_now(
                where, Plan(tuple(placed), (), ()), running, waiting=waiting, waited_seconds=waited
            )

        there = Fleet([BOX], NEEDS, self.planned, running, (), Wishes(), settle)
        placed: Sequence[Placed] = self.planned[BOX_NODE]
        if "rare" in waited and (taken := place_waiting(NEEDS["rare"], there)):
            placed = taken.placed
        return settle(BOX, placed)

    def running(self, each: Loaded, at: float) -> Running:
        is_ready = at >= each.ready_at
        return as_running(
            each.placed,
            in_flight=self.in_flight(each.placed.model),
            ready=is_ready,
            loaded_seconds=at - each.ready_at if is_ready else 0.0,
            idle_seconds=at - each.last_answer_at if is_ready else 0.0,
        )

    def in_flight(self, name: str) -> int:
        return sum(each.in_flight for each in self.nodes if each.model == name)


def _health(each: Loaded, at: float) -> EngineHealth:
    placed = each.placed
    return EngineHealth(
        BOX_NODE, BOX_NODE, Address(placed.model, 1), placed.model, at >= each.ready_at, placed.slots,
        SPEED.together, at, {},
    )  # fmt: skip


def test_four_who_never_pause_and_one_are_all_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "_WAITED_FOR", {})
    hour = run_in_simulated_time(Hour().run(["busy"] * 4 + ["rare"]))
    assert hour.refused == []
    assert hour.answered["busy"] > 100 and hour.answered["rare"] > 50, hour.answered
    assert max(hour.longest_wait.values()) < LIMITS.load_wait_seconds, hour.longest_wait
    assert min(hour.turns) >= TURN_SECONDS and len(hour.turns) < HOUR_SECONDS / (
        TURN_SECONDS + LOADING_SECONDS
    )
