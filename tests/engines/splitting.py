"""Parts of a split model as real processes on loopback, for the tests of any package."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.engines.sharding.parts import PartAddress, part_address
from appliance.engines.sharding.status import PartSilent, PartStatus, ask_part
from tests.conftest import free_port
from tests.engines.serving import ROOT
from tests.waiting import wait_until


@dataclass(frozen=True)
class RunningPart:
    """A part that says it is ready."""

    process: subprocess.Popen[str]
    address: PartAddress

    def status(self) -> PartStatus:
        return ask_part(self.address, 2)

    def is_ready(self) -> bool:
        try:
            return self.status().ready
        except PartSilent:
            return False

    def holds(self, layers: int) -> str:
        """As the setting "parts" says it."""
        return f"{self.address}={layers}"


def start_part(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "appliance.engines.sharding", "--threads", "1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


@contextmanager
def running_part(memory_bytes: int = 300_000_000, port: int | None = None) -> Iterator[RunningPart]:
    address = part_address(f"127.0.0.1:{port or free_port()}")
    process = start_part("--listen", str(address), "--memory-bytes", str(memory_bytes))
    part = RunningPart(process, address)
    try:
        wait_until(part.is_ready, within_seconds=30, what="the part is ready")
        yield part
    finally:
        process.kill()
        process.communicate(timeout=10)
