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
from ipaddress import IPv4Address

from pydantic import ValidationError

from appliance.engines.restarting import RestartDelay
from appliance.enrolment.contract import EngineReport
from appliance.worker.desired import EngineSpec
from appliance.worker.privileges import confinement

log = logging.getLogger(__name__)

STOP_WITHIN_SECONDS = 5
HEALTH_TIMEOUT_SECONDS = 1


class EngineProcess:
    """Starts at once; call `tend` often."""

    def __init__(self, spec: EngineSpec, address: IPv4Address) -> None:
        self.spec = spec
        self.is_ready = False
        self._address = address
        self._delay = RestartDelay()
        self._restart_at: float | None = None
        self._start()

    def tend(self) -> None:
        """Starts the process again when it has died and its delay is over."""
        if self._restart_at is None and self._process.poll() is not None:
            delay = self._delay.after(time.monotonic() - self._started_at)
            log.warning(
                "engine %s ended with %s, again in %.1f s", self.spec.model, self._process.returncode, delay
            )
            self.is_ready = False
            self._restart_at = time.monotonic() + delay
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._start()

    def report(self) -> EngineReport:
        """The engine's own readiness answer; "not ready" when it doesn't give one. Sets `is_ready`."""
        health = self._health()
        self.is_ready = health.ready
        return health

    def stop(self) -> None:
        """Ends the process, by force after STOP_WITHIN_SECONDS."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        spec = self.spec
        argv = [sys.executable, "-m", "appliance.engines", "--model", str(spec.file), "--name", spec.model]
        argv += ["--listen", f"{self._address}:{spec.port}", "--slots", str(spec.slots)]
        if spec.context_tokens:
            argv += ["--context-tokens", str(spec.context_tokens)]
        self._process = subprocess.Popen(
            [*confinement(spec.file), *argv],
            # threads that spin while they wait would take the PC from the person who sits at it
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "HOME": "/"},
            stdin=subprocess.DEVNULL,
        )
        self._started_at = time.monotonic()
        self._restart_at = None
        log.info("engine %s starts on %s:%d", spec.model, self._address, spec.port)

    def _health(self) -> EngineReport:
        spec = self.spec
        silent = EngineReport(model=spec.model, port=spec.port, ready=False, slots=spec.slots)
        connection = http.client.HTTPConnection(str(self._address), spec.port, timeout=HEALTH_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            facts = json.loads(connection.getresponse().read(65536))
            return EngineReport.model_validate({**facts, "port": spec.port})
        except (OSError, http.client.HTTPException, ValueError, TypeError, ValidationError):
            return silent
        finally:
            connection.close()
