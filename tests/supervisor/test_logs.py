"""The log of a process that never stops stays small, and the process does not lose it."""

import os
import sys
from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.supervisor import processes
from appliance.supervisor.processes import Process, Supervisor
from tests.waiting import wait_until

# a line of 600 characters for each one that it is sent: the test sets the pace
WRITER = "import sys; [print(sent.strip() * 600, flush=True) for sent in open(sys.argv[1])]"


def written(log: Path, size_bytes: int) -> None:
    wait_until(lambda: log.stat().st_size == size_bytes, within_seconds=10, what=f"{size_bytes} B in {log}")


def test_a_log_is_rotated_while_its_process_writes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = settings.state_dir / "pace"
    os.mkfifo(pace)
    process = Process("writer", [sys.executable, "-c", WRITER, str(pace)])
    monkeypatch.setattr(processes, "processes", lambda _: [process])
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 1000)
    log = settings.state_dir / "log" / "writer.log"
    supervisor = Supervisor(settings, print)
    supervisor.start()
    try:
        with pace.open("w") as lines:
            for number, letter in enumerate("abc"):
                lines.write(f"{letter}\n")
                lines.flush()
                # the second line exceeds the limit and is moved away with the first
                written(log, 601 * (number % 2 + 1))
                supervisor.tend()
        assert log.read_text() == "c" * 600 + "\n", "from its beginning, without a hole"
        assert log.with_suffix(".log.1").read_text().split() == ["a" * 600, "b" * 600]
    finally:
        supervisor.stop()
