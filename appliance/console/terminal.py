"""A terminal: keys in, screens out, and its settings as they were when we leave."""

import fcntl
import os
import select
import struct
import sys
import termios
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.console.keyboard import ESCAPE_SECONDS, decode, flush
from appliance.console.painting import END, START, changes
from appliance.console.screen import Size

_NO_UNICODE = {"dumb", "vt52", "vt100", "vt102"}
_CONTROL_MODES, _LOCAL_MODES, _INPUT_MODES = 2, 3, 0


class TerminalGone(Exception):
    """The other end hung up, or was never there."""


class Terminal:
    """A context manager around the device `path`; a terminal that tells no size is taken for 80 × 24.

    Raises TerminalGone when it can't be opened.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._plain = kind in _NO_UNICODE
        self._pending = b""
        self._shown: list[str] | None = None

    def __enter__(self) -> Self:
        try:
            # not blocking: a serial line without a carrier would hold up the opening for ever
            self._fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TerminalGone(str(error)) from error
        try:
            self._take_over()
        except (OSError, termios.error) as error:
            # where no line is behind it, the device is there all the same
            os.close(self._fd)
            raise TerminalGone(str(error)) from error
        return self

    def _take_over(self) -> None:
        os.set_blocking(self._fd, True)
        self._before = termios.tcgetattr(self._fd)
        modes = termios.tcgetattr(self._fd)
        # every key is ours, ^C and ^Z too: there is no shell to fall back to
        modes[_LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        modes[_INPUT_MODES] &= ~(termios.IXON | termios.ICRNL | termios.BRKINT)
        termios.tcsetattr(self._fd, termios.TCSANOW, modes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._send(END)
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        except (OSError, termios.error, TerminalGone):
            print("the terminal is gone", file=sys.stderr)  # noqa: T201 the journal
        finally:
            os.close(self._fd)

    def size(self) -> Size:
        """As the terminal tells it now."""
        try:
            rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(self._fd, termios.TIOCGWINSZ, bytes(8)))
        except OSError:
            rows = columns = 0
        return Size(columns or 80, rows or 24, self._plain)

    def wait(self, other: int, timeout_seconds: float | None) -> tuple[list[str], bool]:
        """The keys that came, and whether `other` (a pipe) can be read. Raises TerminalGone."""
        if self._pending:
            timeout_seconds = ESCAPE_SECONDS
        readable, _, _ = select.select([self._fd, other], [], [], timeout_seconds)
        if self._fd in readable:
            self._pending += self._read()
            keys, self._pending = decode(self._pending)
            return keys, other in readable
        keys = []
        if self._pending and not readable:
            keys, self._pending = flush(self._pending), b""
        return keys, other in readable

    def show(self, lines: list[str]) -> None:
        """Makes the screen show `lines`; sends what differs from what it shows. Raises TerminalGone."""
        if self._shown is None or len(self._shown) != len(lines):
            self._send(START)
            self._shown = [""] * len(lines)
        if sent := changes(self._shown, lines):
            self._send(sent)
        self._shown = lines

    def forget(self) -> None:
        """The next `show` paints the whole screen: something else may have written on it."""
        self._shown = None

    def _read(self) -> bytes:
        try:
            data = os.read(self._fd, 1024)
        except OSError as error:
            raise TerminalGone(str(error)) from error
        if not data:
            raise TerminalGone("The terminal hung up.")
        return data

    def _send(self, text: str) -> None:
        left = text.encode()
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise TerminalGone(str(error)) from error
