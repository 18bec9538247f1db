"""A terminal's other side: a screen that obeys the console's sequences, and a keyboard that types into it.

It knows exactly what `appliance.console.painting` sends; any other sequence fails the test, for a real
terminal might do something else with it than we think.
"""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.waiting import wait_until

_TOKEN = re.compile(r"\x1b%G|\x1b\[([?]?)([0-9;]*)([A-Za-z])|[^\x1b]", re.DOTALL)


class Screen:
    """`lines` is what a person would see; reversed blanks are shown as #."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.received = 0
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._reversed = False
        self._rest = b""

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def feed(self, data: bytes) -> None:
        self.received += len(data)
        data = self._rest + data
        # what is cut within a character or a sequence waits for its end
        cut = re.search(rb"(\x1b[^A-Za-z]*|[\xc2-\xf4][\x80-\xbf]*)\Z", data)
        complete = len(data)
        if cut and not _is_whole(cut[0]):
            complete = cut.start()
        self._rest = data[complete:]
        text = data[:complete].decode()
        assert "".join(found[0] for found in _TOKEN.finditer(text)) == text, f"unknown sequence in {text!r}"
        for found in _TOKEN.finditer(text):
            if found[3]:
                self._obey(found[1], found[2], found[3])
            elif not found[0].startswith("\x1b"):
                self._put(found[0])

    def _obey(self, private: str, arguments: str, letter: str) -> None:
        match private, letter, arguments:
            case "", "H", _:
                row, _, column = (arguments or "1;1").partition(";")
                self._row, self._column = int(row) - 1, int(column or 1) - 1
            case "", "K", "":
                self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)
            case "", "J", "2":
                self._cells = [[" "] * self.columns for _ in range(self.rows)]
            case "", "m", "7":
                self._reversed = True
            case "", "m", "27" | "0" | "0;37;40":
                self._reversed = False
            case "?", "h" | "l", "25" | "7":
                pass
            case _:
                raise AssertionError(f"unknown sequence {private}{arguments}{letter}")

    def _put(self, char: str) -> None:
        assert char.isprintable(), f"a control character on the screen: {char!r}"
        assert self._column < self.columns, "written past the edge"
        self._cells[self._row][self._column] = "#" if self._reversed and char == " " else char
        self._column += 1


def _is_whole(tail: bytes) -> bool:
    if tail.startswith(b"\x1b"):
        return tail == b"\x1b%G"
    try:
        tail.decode()
    except UnicodeDecodeError:
        return False
    return True


class Glass:
    """The console, running, with somebody in front of it."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int, screen: Screen) -> None:
        self.process, self.screen = process, screen
        self.terminal = terminal

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def look(self) -> Screen:
        """The screen, with all that has arrived by now."""
        while select.select([self.terminal], [], [], 0.01)[0]:
            try:
                self.screen.feed(os.read(self.terminal, 65536))
            except OSError:
                break
        return self.screen

    def wait_for(self, text: str, *, within_seconds: float = 10) -> str:
        """The screen once it shows `text`."""
        what = f"{text!r} shown"
        try:
            wait_until(lambda: text in str(self.look()), within_seconds=within_seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen}") from error
        return str(self.screen)

    def close(self) -> None:
        os.close(self.terminal)

    def hang_up(self) -> None:
        """Unplugs the terminal."""
        os.close(self.terminal)
        self.terminal = os.open(os.devnull, os.O_RDONLY)

    def bytes_within(self, seconds: float) -> int:
        """How many bytes arrive in that time."""
        self.look()
        before, until = self.screen.received, time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            select.select([self.terminal], [], [], left)
            self.look()
        return self.screen.received - before


@contextmanager
def console(
    environment: Mapping[str, str],
    *others: str,
    columns: int = 80,
    rows: int = 24,
    term: str = "linux",
) -> Iterator[Glass]:
    """Runs `python -m appliance.console` on a pseudo-terminal of its own, and on the terminals `others`."""
    ours, theirs = os.openpty()
    if columns:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.console", os.ttyname(theirs), *others],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment, "TERM": term},
        start_new_session=True,
    )
    glass = Glass(process, ours, Screen(columns or 80, rows or 24))
    try:
        yield glass
    finally:
        process.terminate()
        process.wait(10)
        os.close(theirs)
        glass.close()
