"""Why a process ended by itself: by what, and the end of what it wrote to stderr.

What it writes goes on to our own log meanwhile, line by line.
"""

import re
import signal
import subprocess
import sys
import threading
from typing import IO

from appliance.engines.endings import KILLED

_LONGEST_LINE = 300
_JOIN_SECONDS = 1.0
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+ ")
"""As an engine's log begins a line; what follows is a sentence."""


class LastWords:
    """Of a process that was started with `stderr=PIPE`; reads it to its end in a thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr
        self._process = process
        self._last = ""
        self._reader = threading.Thread(target=self._pass_on, args=(process.stderr,), daemon=True)
        self._reader.start()

    def told(self) -> str:
        """One line for a person, once the process has ended: how it ended, and what it said last."""
        self._reader.join(_JOIN_SECONDS)
        status = self._process.returncode
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        # what it said before is then about something else
        said = KILLED if status == -signal.SIGKILL else self._last or "it said nothing"
        return f"It ended {how}: {said}"

    def _pass_on(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
                if text := last_line(line):
                    self._last = text


def last_line(written: bytes) -> str:
    """What a line says, without the log's own words and without what can't be printed; "" for nothing."""
    text = _LOG_PREFIX.sub("", written.decode("utf-8", "replace"))
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()[:_LONGEST_LINE]
