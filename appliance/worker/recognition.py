"""The record of this PC, made anew every ten minutes in a thread: a platform's tools may take their time.

The box recognises what it is, by its own profiles: so a profile that an admin adds there holds for all PCs.
"""

import logging
import threading
import time

from appliance.enrolment.contract import LONGEST_MACHINE_RECORD
from appliance.hardware import gather

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 600.0
TELL_EVERY_SECONDS = 60.0


class MachineRecord:
    """What the reports carry of it."""

    def __init__(self) -> None:
        self._found = ""
        self._told, self._told_at = "", float("-inf")
        threading.Thread(target=self._look_again_and_again, name="recognition", daemon=True).start()

    def news(self) -> str:
        """What the next report should carry: what changed, and every minute what there is; else ""."""
        is_known = self._found == self._told and time.monotonic() < self._told_at + TELL_EVERY_SECONDS
        return "" if is_known else self._found

    def was_told(self, record: str) -> None:
        """The box has it."""
        if record:
            self._told, self._told_at = record, time.monotonic()

    def _look_again_and_again(self) -> None:
        while True:
            try:
                found = gather()
                if len(text := found.model_dump_json()) > LONGEST_MACHINE_RECORD:
                    text = found.model_copy(update={"tools": {}}).model_dump_json()
                self._found = text
            except Exception:  # a strange machine must not keep the agent from answering
                log.exception("the hardware could not be read")
            time.sleep(LOOK_EVERY_SECONDS)
