"""How an engine's process ends: by which signal it is asked to, and its exit status in words.

SIGTERM ends it within seconds, for a machine must not wait when it stops. FINISH_SIGNAL lets it finish what
it answers already, for whoever takes one engine away while the rest goes on; it takes nothing new, then ends.
"""

import ctypes
import os
import signal
import sys

FINISH_SIGNAL = signal.SIGUSR1
"""Before the engine listens to it, it ends the process, which then answers nothing yet."""
FINISH_WITHIN_SECONDS = 60.0
KILL_AFTER_SECONDS = FINISH_WITHIN_SECONDS + 10
"""Who asked it to finish has seen enough then."""

KILLED = "it was killed, as happens where the machine has no memory left"
"""Of SIGKILL, before which nobody has a last word."""

ENGINE_THREAD_DIED_STATUS = 70
"""EX_SOFTWARE of sysexits.h."""
PART_LOST_STATUS = 76
"""A part of a split model is gone; the log names it."""

_MEANINGS = {
    ENGINE_THREAD_DIED_STATUS: "the engine failed, its log says where",
    PART_LOST_STATUS: "a part of its split model is lost, its log names it",
}


_PR_SET_PDEATHSIG = 1


def end_with(parent: int, by: signal.Signals) -> None:
    """From now on this process gets the signal when `parent`, the thread that started it, has ended.

    prctl(2), as setpriv(1) does, which the sandbox of the image does not let run. Linux only.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before that
        sys.exit(1)


def ending_in_words(status: int) -> str:
    """Of `subprocess.Popen.returncode`."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    meaning = _MEANINGS.get(status)
    return f"exit status {status}: {meaning}" if meaning else f"exit status {status}"
