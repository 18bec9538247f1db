"""One engine server as a child process on the tunnel address: started, watched, restarted when it dies.

It listens on the tunnel address only, where the firewall lets nobody but the box in.
"""

import http.client
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import ValidationError

from appliance.clock import now
from appliance.engines.endings import FINISH_SIGNAL, KILL_AFTER_SECONDS
from appliance.engines.last_words import LastWords
from appliance.engines.restarting import RestartDelay
from appliance.engines.spec import EngineSpec as StartedEngine
from appliance.enrolment.contract import EngineEnding, EngineReport
from appliance.worker.desired import NO_FILE, EngineSpec
from appliance.worker.privileges import confinement

log = logging.getLogger(__name__)

STOP_WITHIN_SECONDS = 5
HEALTH_TIMEOUT_SECONDS = 1


def engine_command(spec: EngineSpec, address: IPv4Address, fingerprint: str = "") -> list[str]:
    """The words that start the engine; `fingerprint` is that of an adoption. Pure."""
    settings = dict(spec.settings)
    if fingerprint:
        settings.setdefault("fingerprint", fingerprint)
    started = StartedEngine(
        name=spec.model,
        model_file=spec.file,
        engine=spec.engine,
        kind=spec.kind,
        device=spec.device,
        settings=settings,
        slots=spec.slots,
        context_tokens=spec.context_tokens,
        prompt_tokens=spec.prompt_tokens,
    )
    listen = ["--listen", f"{address}:{spec.port}"]
    return [sys.executable, "-m", "appliance.engines", *listen, *started.arguments()]


def _read_by(spec: EngineSpec) -> Path:
    """A file that the engine must be able to read."""
    if spec.file != NO_FILE:
        return spec.file
    return Path(str(dict(spec.settings).get("key_file") or __file__))


class EngineProcess:
    """Starts at once; call `tend` often. `fingerprint` gives that of an adoption, "" for none."""

    def __init__(self, spec: EngineSpec, address: IPv4Address, fingerprint: Callable[[], str] = str) -> None:
        self.spec = spec
        self.is_ready = False
        self._address = address
        self._fingerprint = fingerprint
        self._delay = RestartDelay()
        self._restart_at: float | None = None
        self._ending: EngineEnding | None = None
        self._was_ready, self._failed_loads = False, 0
        self._kill_at = float("inf")
        self._start()

    def tend(self) -> bool:
        """Starts the process again when it has died and its delay is over. True when it has just died."""
        has_died = self._restart_at is None and self._process.poll() is not None
        if has_died:
            self._note_end()
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            try:
                self._start()
            except OSError as error:
                delay = self._delay.after(0.0)
                self._restart_at = time.monotonic() + delay
                log.warning("engine %s can't be started: %s. Again in %.1f s.", self.spec.model, error, delay)
                return has_died
            self._ending = self._ending and self._ending.model_copy(
                update={"restarts": self._ending.restarts + 1, "is_running": True}
            )
        return has_died

    def report(self) -> EngineReport:
        """The engine's own readiness answer; "not ready" when it doesn't give one. Sets `is_ready`."""
        health = self._health()
        self.is_ready = health.ready
        if health.ready and not self._was_ready:
            self._was_ready, self._failed_loads = True, 0
            self._ending = self._ending and self._ending.model_copy(update={"failed_loads": 0})
        return health

    def finish(self) -> None:
        """Asks the process to finish what it answers and to end; call `has_ended` then, not `tend`."""
        self._process.send_signal(FINISH_SIGNAL)
        self._kill_at = time.monotonic() + KILL_AFTER_SECONDS

    def has_ended(self) -> bool:
        """Whether it is gone; after KILL_AFTER_SECONDS by force."""
        if time.monotonic() >= self._kill_at:
            self._process.kill()
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ends the process, by force after STOP_WITHIN_SECONDS."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _note_end(self) -> None:
        delay = self._delay.after(time.monotonic() - self._started_at)
        said = self._last_words.told()
        log.warning("engine %s ended: %s Again in %.1f s.", self.spec.model, said, delay)
        self.is_ready = False
        self._restart_at = time.monotonic() + delay
        restarts = self._ending.restarts if self._ending else 0
        self._failed_loads = 0 if self._was_ready else self._failed_loads + 1
        self._ending = EngineEnding(at=now(), said=said, restarts=restarts, failed_loads=self._failed_loads)

    def _start(self) -> None:
        spec = self.spec
        self._process = subprocess.Popen(
            [*confinement(_read_by(spec)), *engine_command(spec, self._address, self._fingerprint())],
            # threads that spin while they wait would take the PC from the person who sits at it
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "HOME": "/"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._last_words = LastWords(self._process)
        self._started_at = time.monotonic()
        self._restart_at = None
        self._was_ready = False
        log.info("engine %s starts on %s:%d", spec.model, self._address, spec.port)

    def _health(self) -> EngineReport:
        spec = self.spec
        silent = EngineReport(
            model=spec.model,
            port=spec.port,
            ready=False,
            slots=spec.slots,
            kind=spec.kind,
            engine=spec.engine,
            device=spec.device,
            trouble=self._ending.said if self._ending else "",
            ending=self._ending,
        )
        connection = http.client.HTTPConnection(str(self._address), spec.port, timeout=HEALTH_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            facts = json.loads(connection.getresponse().read(65536))
            return EngineReport.model_validate({**facts, "port": spec.port, "ending": self._ending})
        except (OSError, http.client.HTTPException, ValueError, TypeError, ValidationError):
            return silent
        finally:
            connection.close()
