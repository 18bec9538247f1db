"""How an engine's process ends, by exit status, in words for whoever started it."""

import signal

ENGINE_THREAD_DIED_STATUS = 70
"""EX_SOFTWARE of sysexits.h."""
PART_LOST_STATUS = 76
"""A part of a split model is gone; the log names it."""

_MEANINGS = {
    ENGINE_THREAD_DIED_STATUS: "the engine failed, its log says where",
    PART_LOST_STATUS: "a part of its split model is lost, its log names it",
}


def ending_in_words(status: int) -> str:
    """Of `subprocess.Popen.returncode`."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    meaning = _MEANINGS.get(status)
    return f"exit status {status}: {meaning}" if meaning else f"exit status {status}"
