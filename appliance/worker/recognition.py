"""What this PC is, recognised anew every ten minutes in a thread: a platform's tools may take their time."""

import logging
import threading
import time
from pathlib import Path

from appliance.hardware import HardwareReport, own_hardware
from appliance.hardware.places import SHIPPED

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 600.0
TELL_EVERY_SECONDS = 60.0


class Recogniser:
    """`state_dir`/hwprofiles may hold profiles of this PC's own, which win."""

    def __init__(self, state_dir: Path) -> None:
        self._folders = (SHIPPED, state_dir / "hwprofiles")
        self._found: HardwareReport | None = None
        self._told: tuple[HardwareReport | None, float] = (None, float("-inf"))
        threading.Thread(target=self._look_again_and_again, name="recognition", daemon=True).start()

    def news(self) -> HardwareReport | None:
        """What the next report should carry: what changed, and every minute what there is."""
        told, at = self._told
        if self._found is None or (self._found == told and time.monotonic() < at + TELL_EVERY_SECONDS):
            return None
        return self._found

    def was_told(self, report: HardwareReport | None) -> None:
        """The box has it."""
        if report is not None:
            self._told = (report, time.monotonic())

    def _look_again_and_again(self) -> None:
        while True:
            try:
                self._found = own_hardware(self._folders)
            except Exception:  # a strange machine must not keep the agent from answering
                log.exception("the hardware could not be recognised")
            time.sleep(LOOK_EVERY_SECONDS)
