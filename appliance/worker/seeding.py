"""The process that gives pieces to other workers: there while the box names some, told what they may have."""

import logging
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

from appliance.settings import WORKER_HANDOUT_PORT
from appliance.worker.privileges import confinement
from appliance.worker.seed_server import SeedOrders

log = logging.getLogger(__name__)


class Seeding:
    """Gives what lies under `root` on `address`; nothing runs before somebody may have something."""

    def __init__(self, root: Path, address: IPv4Address) -> None:
        self._root = root
        self._address = address
        self._process: subprocess.Popen[str] | None = None
        self._told: SeedOrders | None = None

    def obey(self, orders: SeedOrders) -> None:
        """Starts, tells, or stops the process; one that died is started again. Call it with every report."""
        if not orders.files:
            self.stop()
            return
        if self._process is None or self._process.poll() is not None:
            self._start()
        if orders != self._told:
            self._tell(orders)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = self._told = None

    def _start(self) -> None:
        argv = [sys.executable, "-m", "appliance.worker.seed_server", "--root", str(self._root)]
        argv += ["--address", str(self._address), "--port", str(WORKER_HANDOUT_PORT)]
        self._told = None
        self._process = subprocess.Popen(
            [*confinement(self._root), *argv], stdin=subprocess.PIPE, text=True, bufsize=1
        )
        log.info("gives pieces of models to other workers on %s:%d", self._address, WORKER_HANDOUT_PORT)

    def _tell(self, orders: SeedOrders) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(orders.model_dump_json() + "\n")
        except OSError as error:
            # it has just died; the next report starts it anew
            log.warning("the process that gives pieces can't be told: %s", error)
            return
        self._told = orders
