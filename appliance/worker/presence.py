"""Whether somebody works at this machine now: then the machine is first of all theirs.

Somebody works where a terminal was typed in, or where a desktop is open before the screen, not locked and not
idle. Whether it is idle a desktop tells logind; some never do (https://bugs.kde.org/show_bug.cgi?id=448942),
and there keyboard and mouse tell it. A desktop that does tell is believed: who is in a call types nothing.
"""

import logging
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.worker.input_activity import InputActivity

log = logging.getLogger(__name__)

IDLE_AFTER_SECONDS = 300.0
_SESSIONS = Path("/run/systemd/sessions")
"""One file a session, named by its id; what is in them is logind's own business."""
_PROPERTIES = "Type,Class,Seat,TTY,Active,Remote,LockedHint,IdleHint,IdleSinceHintMonotonic"
_ASK_TIMEOUT_SECONDS = 2.0
_DESKTOPS = ("x11", "wayland", "mir")


@dataclass(frozen=True)
class Session:
    """One session as logind tells it (org.freedesktop.login1(5))."""

    type: str = ""
    session_class: str = ""
    seat: str = ""
    tty: str = ""
    is_active: bool = False
    """In front, where several are open."""
    is_remote: bool = False
    is_locked: bool = False
    is_idle: bool = False
    keeps_idle_hint: bool = False
    """Whether the desktop has ever told that it is idle, or isn't any more."""

    @property
    def is_open_desktop(self) -> bool:
        """Before a screen, not locked, and not the one where people sign in."""
        is_users = self.session_class.startswith("user") and self.type in _DESKTOPS
        return is_users and self.is_active and bool(self.seat) and not (self.is_remote or self.is_locked)


def read_sessions(told: str) -> tuple[Session, ...]:
    """From what `loginctl show-session ID …` prints: NAME=VALUE, an empty line between sessions. Pure."""
    sessions = []
    for block in told.split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if facts:
            sessions.append(_session(facts))
    return tuple(sessions)


def _session(told: dict[str, str]) -> Session:
    def is_so(name: str) -> bool:
        return told.get(name) == "yes"

    return Session(
        type=told.get("Type", ""),
        session_class=told.get("Class", ""),
        seat=told.get("Seat", ""),
        tty=told.get("TTY", ""),
        is_active=is_so("Active"),
        is_remote=is_so("Remote"),
        is_locked=is_so("LockedHint"),
        is_idle=is_so("IdleHint"),
        keeps_idle_hint=told.get("IdleSinceHintMonotonic", "0") not in ("", "0"),
    )


def somebody_works(
    sessions: Sequence[Session], terminals_idle_seconds: Iterable[float], input_idle_seconds: float | None
) -> bool:
    """`input_idle_seconds`: since keyboard or mouse was used; None where that can't be seen. Pure."""
    if any(idle < IDLE_AFTER_SECONDS for idle in terminals_idle_seconds):
        return True
    is_used = input_idle_seconds is None or input_idle_seconds < IDLE_AFTER_SECONDS
    return any(
        session.is_open_desktop and not session.is_idle and (session.keeps_idle_hint or is_used)
        for session in sessions
    )


class Presence:
    """Watches from its making on; until something is known of keyboard and mouse they count as used."""

    def __init__(
        self, sessions: Path = _SESSIONS, proc: Path = Path("/proc"), dev: Path = Path("/dev")
    ) -> None:
        self._sessions = sessions
        self._dev = dev
        self._input = InputActivity(proc / "bus" / "input" / "devices", dev / "input")

    def somebody_works(self) -> bool:
        sessions = self._read_sessions()
        return somebody_works(sessions, self._terminals_idle_seconds(sessions), self._input.idle_seconds())

    def close(self) -> None:
        self._input.close()

    def _read_sessions(self) -> tuple[Session, ...]:
        try:
            ids = sorted(file.name for file in self._sessions.iterdir() if file.name.isalnum())
            # one that has just ended silences those after it, and is gone the next time
            told = _logind_tells(*ids) if ids else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            log.debug("logind tells no sessions: %s", error)
            return ()
        return read_sessions(told)

    def _terminals_idle_seconds(self, sessions: Sequence[Session]) -> Iterator[float]:
        # a terminal's file is touched by each key pressed in it, as w(1) reads idle times
        names = {user.terminal for user in psutil.users()} | {session.tty for session in sessions}
        for name in filter(None, names):
            try:
                yield time.time() - (self._dev / name).stat().st_atime
            except OSError:
                continue


def _logind_tells(*ids: str) -> str:
    """Raises OSError where there is no loginctl, TimeoutExpired."""
    return subprocess.run(
        ["loginctl", "show-session", "--property", _PROPERTIES, *ids],
        capture_output=True,
        text=True,
        timeout=_ASK_TIMEOUT_SECONDS,
        check=False,
    ).stdout
