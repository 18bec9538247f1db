"""An engine under the contract's tests, and requests that keep it busy."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.engines.contract_engines import CONTEXT_TOKENS, ContractEngine
from tests.engines.serving import RunningEngine
from tests.waiting import wait_until


@dataclass(frozen=True)
class Subject:
    """An engine that runs, and what it says of itself in the table."""

    declared: ContractEngine
    running: RunningEngine


def long_request(engine: RunningEngine, **more: Any) -> dict[str, Any]:
    """Runs for as long as the engine lets it."""
    body = {"model": engine.model, "prompt": "a b c", "max_tokens": CONTEXT_TOKENS - 100, "ignore_eos": True}
    return {**body, "temperature": 0, **more}


@contextmanager
def occupied(subject: Subject, waiting: int) -> Iterator[None]:
    """Every slot runs and `waiting` requests wait, until the block ends."""
    engine, slots = subject.running, subject.declared.slots
    open_: list[socket.socket] = []
    try:
        for _ in range(slots + waiting):
            open_.append(engine.raw("/v1/completions", long_request(engine, stream=True)))
        wait_until(
            lambda: engine.health()["busy"] == slots and engine.health()["waiting"] == waiting,
            within_seconds=5,
            what=f"{slots} run and {waiting} wait",
        )
        yield
    finally:
        for connection in open_:
            connection.close()
    wait_until(lambda: engine.health()["busy"] == 0, within_seconds=5, what="the slots are free")
    wait_until(lambda: engine.health()["waiting"] == 0, within_seconds=5, what="nobody waits")
