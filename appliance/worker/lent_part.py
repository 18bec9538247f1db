"""This machine's part of a split model, a child process on the tunnel address, as the box wants it.

It lends memory to the box alone: the firewall lets nobody else to its ports. It is confined like an engine,
and started again with back-off when it dies; the head notices that it has forgotten everything.
"""

import logging
import os
import subprocess
import sys
import time
from ipaddress import IPv4Address

from appliance.engines.last_words import LastWords
from appliance.engines.restarting import RestartDelay
from appliance.engines.sharding.parts import PartAddress
from appliance.engines.sharding.status import PartSilent, ask_part
from appliance.enrolment.contract import DesiredPart, PartReport
from appliance.models.demo import DEMO_MODEL_PATH
from appliance.settings import WORKER_PART_PORT
from appliance.worker.engine_process import HEALTH_TIMEOUT_SECONDS, STOP_WITHIN_SECONDS
from appliance.worker.privileges import confinement

log = logging.getLogger(__name__)


class LentPart:
    """Nothing at first; call `tend` often. The process is a child of the calling thread and ends with it."""

    def __init__(self, address: IPv4Address) -> None:
        self._address = PartAddress(address, WORKER_PART_PORT)
        self._wanted: DesiredPart | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words: LastWords | None = None
        self._delay = RestartDelay()
        self._started_at = 0.0
        self._start_at = 0.0
        self._trouble = ""
        self._was_ready = False

    def apply(self, desired: DesiredPart | None) -> None:
        """Makes it so: other numbers mean a new process, whose memory the head must fill anew."""
        if desired == self._wanted:
            return
        self.stop()
        self._wanted = desired
        self._delay, self._trouble = RestartDelay(), ""
        if desired:
            self._start(desired)

    def tend(self) -> bool:
        """Starts again what died. True when it has just become ready: news for the box."""
        if self._wanted is None:
            return False
        if self._process is not None and self._last_words and self._process.poll() is not None:
            delay = self._delay.after(time.monotonic() - self._started_at)
            self._trouble = self._last_words.told()
            log.warning("the part ended: %s Again in %.1f s.", self._trouble, delay)
            self._process, self._was_ready = None, False
            self._start_at = time.monotonic() + delay
        if self._process is None and time.monotonic() >= self._start_at:
            self._start(self._wanted)
        if self._process is None or self._was_ready:
            return False
        report = self.report()
        self._was_ready = report is not None and report.ready
        return self._was_ready

    def report(self) -> PartReport | None:
        """What the part says of itself; None where none is wanted."""
        if self._wanted is None:
            return None
        try:
            status = ask_part(self._address, HEALTH_TIMEOUT_SECONDS)
        except PartSilent:
            return PartReport(port=self._address.port, ready=False, trouble=self._trouble)
        self._trouble = ""
        return PartReport(
            port=self._address.port,
            ready=status.ready,
            memory_bytes=status.memory_bytes,
            used_bytes=status.used_bytes,
            used_by=status.used_by,
            device=status.device,
        )

    def stop(self) -> None:
        """Ends the process, by force after STOP_WITHIN_SECONDS."""
        process, self._process, self._wanted, self._was_ready = self._process, None, None, False
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, wanted: DesiredPart) -> None:
        argv = [sys.executable, "-m", "appliance.engines.sharding", "--listen", str(self._address)]
        argv += ["--memory-bytes", str(wanted.memory_bytes), "--device", wanted.device]
        self._process = subprocess.Popen(
            # it needs no model's file; one that ships tells whether its user may read the program
            [*confinement(DEMO_MODEL_PATH), *argv],
            # threads that spin while they wait would take the PC from the person who sits at it
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "HOME": "/"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._last_words = LastWords(self._process)
        self._started_at = time.monotonic()
        log.info("lends %d MB of %s on %s", wanted.memory_bytes // 10**6, wanted.device, self._address)
