"""Telling systemd that a process is ready and still alive, from the loop that must not hang (sd_notify(3)).

Outside of systemd nothing is told. Its address is taken out of the environment at the first use, so that no
library tells too early; a process that was forked since still has it.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Watchdog:
    """`address` is systemd's socket, "" without one; `period_seconds` the longest silence, 0 for any."""

    address: str = ""
    period_seconds: float = 0.0

    def tell(self, message: str) -> None:
        """Sends e.g. READY=1. Whatever happens to the message, the process goes on."""
        if not self.address:
            return
        # a leading @ stands for the null byte of an abstract socket (unix(7))
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.setblocking(False)
            try:
                notified.sendto(message.encode(), address)
            except OSError:
                return

    async def beat(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Tells that the process is ready, then that it lives while `is_alive` says so; until cancelled."""
        self.tell("READY=1")
        while self.address and self.period_seconds:
            if is_alive():
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self.period_seconds / 3)


@cache
def watchdog_of_this_process() -> Watchdog:
    """As systemd started it, or the process that it was forked from."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    period_usec = int(os.environ.pop("WATCHDOG_USEC", "0"))
    os.environ.pop("WATCHDOG_PID", None)
    return Watchdog(address, period_usec / 1e6)
