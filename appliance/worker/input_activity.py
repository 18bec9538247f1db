"""Since when nobody has touched keyboard, mouse, touchpad or touchscreen of this machine.

Only that something waits to be read is asked of the kernel, and never what: no event is ever read, so nothing
that is typed comes into this process. A device whose event was noticed is opened anew, which forgets it.
"""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_HANDLERS = ("kbd", "mouse")
"""Of the kernel's: evdev gives a node to every device, also to those that report without anybody."""


def people_devices(listed: str) -> tuple[str, ...]:
    """The event nodes that people touch, from the text of /proc/bus/input/devices. Pure."""
    found: list[str] = []
    for line in listed.splitlines():
        if line.startswith("H: Handlers="):
            names = line.partition("=")[2].split()
            if any(name.startswith(_HANDLERS) for name in names):
                found += [name for name in names if name.startswith("event")]
    return tuple(found)


class InputActivity:
    """Counts from its making, as if something had just been touched. Needs to be root."""

    def __init__(self, listing: Path, nodes: Path) -> None:
        self._listing = listing
        self._nodes = nodes
        self._open: dict[str, int] = {}
        self._touched_at = time.monotonic()
        self._renew()

    def idle_seconds(self) -> float | None:
        """Since the call of this that last noticed a touch; None where no device can be watched."""
        touched = list(self._touched())
        if touched:
            self._touched_at = time.monotonic()
        for name in touched:
            os.close(self._open.pop(name))
        self._renew()
        return time.monotonic() - self._touched_at if self._open else None

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def _touched(self) -> Iterator[str]:
        poll = select.poll()
        names = {descriptor: name for name, descriptor in self._open.items()}
        for descriptor in names:
            poll.register(descriptor, select.POLLIN)
        for descriptor, happened in poll.poll(0):
            if happened & select.POLLIN:
                yield names[descriptor]

    def _renew(self) -> None:
        """Opens what has come and lets go what is gone."""
        try:
            there = people_devices(self._listing.read_text(errors="replace"))
        except OSError:
            there = ()
        for name in self._open.keys() - set(there):
            os.close(self._open.pop(name))
        for name in there:
            if name not in self._open:
                with suppress(OSError):
                    self._open[name] = os.open(self._nodes / name, os.O_RDONLY | os.O_NONBLOCK)
