"""The real engine with the demo model on one of a box's sockets."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx

from tests.conftest import DEMO_MODEL
from tests.pool.conftest import ROOT, Box

MODEL = "cellule-demo"


@contextmanager
def real_engine(box: Box, *arguments: str) -> Iterator[None]:
    """Runs the engine until the block ends; the pool uses it when the block begins."""
    socket = box.settings.engine_socket(MODEL)
    command = [sys.executable, "-m", "appliance.engines", "--model", str(DEMO_MODEL), "--name", MODEL]
    with (box.settings.state_dir / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--listen", f"unix:{socket}", *arguments], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        box.wait_for_model(MODEL, within_seconds=60)
        yield
    finally:
        process.terminate()
        process.wait(15)


def engine_health(box: Box) -> dict[str, Any]:
    """The engine's own /health/ready."""
    health: dict[str, Any] = _get(box, "/health/ready").json()
    return health


def engine_counts(box: Box) -> float:
    """How many tokens the engine says it generated."""
    name = "cellule_engine_generated_tokens_total "
    lines = _get(box, "/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))


def _get(box: Box, path: str) -> httpx.Response:
    socket = str(box.settings.engine_socket(MODEL))
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as direct:
        return direct.get(f"http://engine{path}")
