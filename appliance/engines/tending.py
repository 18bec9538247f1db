"""python -m appliance.engines.tending: runs the box's engines as the specs in the state directory say.

With `--only engines` or `--only split-engines` it tends to one of the two folders of specs: heads of split
models call workers, and all other engines nobody.

One process a model. What must stop stops before anything starts, so that two models never fight for memory;
it may finish what it answers first, and meanwhile the others are tended.
A process that dies is started again, later each time; one that is stuck is killed, but not while it may still
be loading its model. How each is doing is told in a file beside the sockets, `engines.json` or
`split-engines.json`.
"""

import argparse
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.clock import now
from appliance.engines.endings import FINISH_SIGNAL, KILL_AFTER_SECONDS
from appliance.engines.last_words import LastWords
from appliance.engines.restarting import RestartDelay
from appliance.engines.spec import EngineSpec, read_specs
from appliance.hardware.profile import EngineName
from appliance.settings import Settings, load_settings

log = logging.getLogger("cellule.engines")

LOOK_EVERY_SECONDS = 0.5
STOP_WITHIN_SECONDS = 10
ASK_EVERY_SECONDS, ASK_TIMEOUT_SECONDS = 10.0, 5.0
READY_TIMEOUT_SECONDS = 1.0
STUCK_AFTER_ANSWERS = 3
"""So many questions whether it lives without an answer, and it is killed."""
_STUCK = "It gave no sign of life any more, and was killed."
FIRST_READY_WITHIN_SECONDS = 900.0
"""Loading a large model from a slow disk takes minutes, and may keep the process from answering meanwhile."""


class EngineState(BaseModel):
    """How one engine is doing. `said` is the end of what the process wrote when it last ended by itself."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    is_running: bool
    since: float
    """Epoch seconds of the start, or of the end."""
    restarts: int = 0
    said: str = ""
    failed_loads: int = 0
    """So many starts in a row ended before it was ever ready."""
    digest: str = ""
    engine: EngineName = EngineName.LLAMA_CPP
    device: str = ""


class EngineStates(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    engines: tuple[EngineState, ...] = ()
    troubles: tuple[str, ...] = ()
    """Specs that can't be used."""


def read_engine_states(settings: Settings) -> EngineStates:
    """As last told; nothing when no engine beside the demo model was ever wanted."""
    told = [_read_states(settings.engines_dir / f"{folder.name}.json") for folder in _folders(settings)]
    return EngineStates(
        engines=tuple(engine for states in told for engine in states.engines),
        troubles=tuple(trouble for states in told for trouble in states.troubles),
    )


@dataclass(frozen=True)
class Changes:
    """Names. A spec that changed is in both."""

    stop: tuple[str, ...]
    start: tuple[str, ...]


def changes(wanted: dict[str, EngineSpec], running: dict[str, EngineSpec]) -> Changes:
    """What makes `running` equal to `wanted`. Pure."""
    return Changes(
        stop=tuple(name for name, spec in running.items() if wanted.get(name) != spec),
        start=tuple(name for name, spec in wanted.items() if running.get(name) != spec),
    )


class TendedEngine:
    """One process and its restarts; call `tend` often."""

    def __init__(self, spec: EngineSpec, listen: Path) -> None:
        self.spec = spec
        self._socket = listen
        self._delay = RestartDelay()
        self._restart_at: float | None = None
        self._restarts, self._said, self._failed_loads = 0, "", 0
        self._unanswered, self._ask_at = 0, 0.0
        self._kill_at = float("inf")
        self._start()

    def tend(self) -> None:
        """Starts it again when it has died and its delay is over; kills it when it is stuck."""
        if self._restart_at is None and self._process.poll() is not None:
            self._note_end()
        elif self._restart_at is None:
            self._ask_whether_it_is_ready()
            self._ask_whether_it_lives()
        elif time.monotonic() >= self._restart_at:
            self._restarts += 1
            self._start()

    def finish(self) -> None:
        """Asks the process to finish what it answers and to end; call `has_ended` then, not `tend`."""
        self._process.send_signal(FINISH_SIGNAL)
        self._kill_at = time.monotonic() + KILL_AFTER_SECONDS

    def has_ended(self) -> bool:
        """Whether it is gone, and its socket with it; after KILL_AFTER_SECONDS by force."""
        if time.monotonic() >= self._kill_at:
            log.warning("engine %s does not finish and is killed", self.spec.name)
            self._process.kill()
        if self._process.poll() is None:
            return False
        self._socket.unlink(missing_ok=True)
        return True

    def terminate(self) -> None:
        self._process.terminate()

    def stop(self) -> None:
        """Ends the process, by force after STOP_WITHIN_SECONDS, and takes its socket away."""
        self.terminate()
        try:
            self._process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.unlink(missing_ok=True)

    def state(self) -> EngineState:
        return EngineState(
            name=self.spec.name,
            is_running=self._restart_at is None,
            since=self._since,
            restarts=self._restarts,
            said=self._said,
            failed_loads=self._failed_loads,
            digest=self.spec.digest,
            engine=self.spec.engine,
            device=self.spec.device,
        )

    def _start(self) -> None:
        command = [sys.executable, "-m", "appliance.engines", *self.spec.arguments()]
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [*command, "--listen", f"unix:{self._socket}", "--parent", str(os.getpid())],
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self._last_words = LastWords(self._process)
        self._restart_at, self._unanswered, self._was_ready, self._is_stuck = None, 0, False, False
        self._started_at, self._since = time.monotonic(), now()
        self._ask_at = self._started_at + ASK_EVERY_SECONDS
        log.info("engine %s starts", self.spec.name)

    def _note_end(self) -> None:
        delay = self._delay.after(time.monotonic() - self._started_at)
        self._said = _STUCK if self._is_stuck else self._last_words.told()
        self._failed_loads = 0 if self._was_ready else self._failed_loads + 1
        self._since = now()
        self._restart_at = time.monotonic() + delay
        log.warning("engine %s ended: %s Again in %.1f s.", self.spec.name, self._said, delay)

    def _ask_whether_it_is_ready(self) -> None:
        """Each time until it is: one that ends before that failed to load."""
        if self._was_ready or not self._socket.exists():
            return
        if _says(self._socket, "ready", READY_TIMEOUT_SECONDS):
            self._was_ready, self._failed_loads = True, 0

    def _ask_whether_it_lives(self) -> None:
        if time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + ASK_EVERY_SECONDS
        lives = _says(self._socket, "live", ASK_TIMEOUT_SECONDS)
        self._unanswered = 0 if lives else self._unanswered + 1
        may_load = not self._was_ready and time.monotonic() - self._started_at < FIRST_READY_WITHIN_SECONDS
        if self._unanswered >= STUCK_AFTER_ANSWERS and not may_load:
            log.warning("engine %s is stuck and is killed", self.spec.name)
            self._is_stuck = True
            self._process.kill()


class Tending:
    """All engines of the folders of specs, both or `only` one. `tend` is called again and again."""

    def __init__(self, settings: Settings, only: str | None = None) -> None:
        self._settings = settings
        self._folders = [folder for folder in _folders(settings) if only in (None, folder.name)]
        self._state_file = settings.engines_dir / f"{self._folders[0].name}.json"
        self._engines: dict[str, TendedEngine] = {}
        self._finishing: list[TendedEngine] = []
        self._told = EngineStates()

    def tend(self) -> None:
        read = [read_specs(folder) for folder in self._folders]
        wanted = {name: spec for specs, _ in read for name, spec in specs.items()}
        unusable = [trouble for _, troubles in read for trouble in troubles]
        todo = changes(wanted, {name: engine.spec for name, engine in self._engines.items()})
        for name in todo.stop:
            log.info("engine %s is not wanted like this any more", name)
            engine = self._engines.pop(name)
            engine.finish()
            self._finishing.append(engine)
        self._finishing = [engine for engine in self._finishing if not engine.has_ended()]
        for name in () if self._finishing else todo.start:
            self._engines[name] = TendedEngine(wanted[name], self._settings.engine_socket(name))
        for engine in self._engines.values():
            engine.tend()
        self._tell(
            EngineStates(
                engines=tuple(engine.state() for engine in self._engines.values()),
                troubles=tuple(str(trouble) for trouble in unusable),
            )
        )

    def stop(self) -> None:
        """Ends all of them at once, finished or not."""
        running = [*self._engines.values(), *self._finishing]
        for engine in running:
            engine.terminate()
        for engine in running:
            engine.stop()
        self._engines, self._finishing = {}, []

    def _tell(self, states: EngineStates) -> None:
        if states == self._told:
            return
        new = self._state_file.with_suffix(".new")
        new.write_text(states.model_dump_json())
        new.chmod(0o644)  # the product reads it as another user; the folder lets nobody else pass
        new.replace(self._state_file)
        self._told = states


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load_settings()
    parser = argparse.ArgumentParser(prog="python -m appliance.engines.tending")
    parser.add_argument("--only", choices=[folder.name for folder in _folders(settings)])
    tending = Tending(settings, parser.parse_args().only)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        while not stop.wait(LOOK_EVERY_SECONDS):
            try:
                tending.tend()
            except OSError:
                # no room for a file, no process to be had: what runs must go on, and the next look repeats it
                log.exception("engines can't be tended now")
    finally:
        tending.stop()


def _folders(settings: Settings) -> tuple[Path, Path]:
    return settings.engine_specs_dir, settings.split_specs_dir


def _read_states(file: Path) -> EngineStates:
    try:
        return EngineStates.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return EngineStates()


def _says(listen: Path, health: str, within_seconds: float) -> bool:
    """Whether it is `live`, or `ready`."""
    connection = http.client.HTTPConnection("localhost", timeout=within_seconds)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(within_seconds)
        connection.sock.connect(str(listen))
        connection.request("GET", f"/health/{health}")
        return bool(json.loads(connection.getresponse().read(65536)).get(health))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
