"""The table of processes, and the loop that keeps each of them alive."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.engines.endings import ending_in_words
from appliance.models.demo import DEMO_MODEL_NAME, DEMO_MODEL_PATH
from appliance.settings import Settings

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
STOP_WITHIN_SECONDS = 15.0
LOG_LIMIT_BYTES = 5_000_000


@dataclass
class Process:
    """One supervised process: its command, and how it is doing."""

    name: str
    command: list[str]
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    back_off_seconds: float = FIRST_BACK_OFF_SECONDS


def processes(settings: Settings) -> list[Process]:
    """Every process of the product, in the order in which they are started."""
    python, gunicorn = sys.executable, [sys.executable, "-m", "gunicorn"]
    engine = [python, "-m", "appliance.engines", "--model", str(DEMO_MODEL_PATH), "--name", DEMO_MODEL_NAME]
    engine += ["--listen", f"unix:{settings.engine_socket(DEMO_MODEL_NAME)}"]
    engine += ["--slots", str(settings.engine_slots)]
    return [
        Process("broker", [python, "-m", "appliance.host"]),
        Process("engine", engine),
        Process("engines", [python, "-m", "appliance.engines.tending"]),
        Process("core", [python, "-m", "appliance.jobs"]),
        Process("webadmin", [*gunicorn, "-c", "webadmin/gunicorn_conf.py", "webadmin:create_app()"]),
        Process("pool", [*gunicorn, "-c", "appliance/pool/gunicorn_conf.py", "appliance.pool.app:app"]),
    ]


class Supervisor:
    """Runs `processes(settings)`, each writing to its own file in `<state>/log`."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._processes = processes(settings)
        self._environment = os.environ | settings.environment()
        self._say = say
        self._log_dir = settings.state_dir / "log"
        self._log_dir.mkdir(exist_ok=True)

    def start(self) -> None:
        """Starts every process."""
        for process in self._processes:
            self._start(process)

    def tend(self) -> None:
        """Starts again, after its back-off, each process that died, and keeps the logs from growing.

        Safe to call as often as one likes.
        """
        for process in self._processes:
            if process.popen is None:
                if time.monotonic() >= process.start_again_at:
                    self._start(process)
            elif (status := process.popen.poll()) is not None:
                self._note_death(process, status)
            rotate(self._log_path(process))

    def stop(self) -> None:
        """Asks every process to stop, last started first, and kills what doesn't in time."""
        running = [process.popen for process in reversed(self._processes) if process.popen]
        for popen in running:
            popen.terminate()
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        for popen in running:
            try:
                popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()

    def log_tails(self) -> str:
        """The last lines that each process wrote."""
        tails = []
        for path in sorted(self._log_dir.glob("*.log")):
            tails += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-12:]]
        return "\n".join(tails)

    def _start(self, process: Process) -> None:
        with self._log_path(process).open("ab") as log:
            process.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *process.command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
                # Ctrl-C reaches the supervisor alone, which then stops the others in order
                process_group=0,
            )
        process.started_at = time.monotonic()

    def _log_path(self, process: Process) -> Path:
        return self._log_dir / f"{process.name}.log"

    def _note_death(self, process: Process, status: int) -> None:
        if time.monotonic() - process.started_at > LONGEST_BACK_OFF_SECONDS:
            process.back_off_seconds = FIRST_BACK_OFF_SECONDS
        process.popen = None
        process.start_again_at = time.monotonic() + process.back_off_seconds
        again = f"it starts again in {process.back_off_seconds:g} s"
        self._say(f"{process.name} ended ({ending_in_words(status)}); {again}")
        process.back_off_seconds = min(process.back_off_seconds * 2, LONGEST_BACK_OFF_SECONDS)


def rotate(log: Path) -> None:
    """Moves what `log` holds to `.log.1` once it exceeds LOG_LIMIT_BYTES; its process may go on writing."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        # a copy: the process keeps its file, opened for appending, so its next line starts the emptied one.
        # A line written between these two calls is lost, which a log can bear
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
