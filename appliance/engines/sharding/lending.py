"""A part's memory and its head: how much is used, by whom, and that a head which vanished is let go.

What is lent is a limit that the kernel holds (RLIMIT_DATA) where the part computes on the processor; the
memory of a graphics card has no such limit, there the head's own sum before it loads is what keeps it.
"""

import os
import resource
import socket
from pathlib import Path

import psutil

from appliance.engines.llama_devices import Device

_SPARE_BYTES = 96 * 1024 * 1024
"""For the process itself: messages, Python."""
_THREAD_BYTES = 9 * 1024 * 1024
"""A stack, and a bit of heap."""
_KEEPALIVE_IDLE_SECONDS, _KEEPALIVE_EVERY_SECONDS, _KEEPALIVE_TIMES = 5, 2, 3


class Lending:
    """`memory_bytes` of `device`, computed on by so many `threads`, from now on."""

    def __init__(self, device: Device, memory_bytes: int, threads: int) -> None:
        self.memory_bytes = memory_bytes
        self._device = device
        self._before_bytes = self._taken_bytes()
        if device.name == "CPU":
            limit = self._before_bytes + memory_bytes + _SPARE_BYTES + threads * _THREAD_BYTES
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def used_bytes(self, *, in_use: bool) -> int:
        """What the head has laid down; what lies there while there is none is the process's own."""
        taken = self._taken_bytes()
        if not in_use:
            self._before_bytes = taken
        return max(0, taken - self._before_bytes)

    def _taken_bytes(self) -> int:
        if self._device.name == "CPU":
            # data and stack, as RLIMIT_DATA counts them: proc(5), statm
            return int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        free, total = self._device.memory_bytes()
        return total - free


class Head:
    """Who is connected to `port` of this process now."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._watched: set[tuple[int, tuple[str, int]]] = set()

    def address(self) -> str:
        """Of the head that is connected; "" while there is none.

        A head whose machine lost its power says no farewell, and llama.cpp would wait for its next word
        forever and take no other: each connection that is seen for the first time gets a keep-alive.
        """
        connected = [
            one
            for one in psutil.Process().net_connections("tcp")
            if one.laddr and one.laddr.port == self._port and one.status == psutil.CONN_ESTABLISHED
        ]
        seen = {(one.fd, (str(one.raddr.ip), int(one.raddr.port))) for one in connected}
        for descriptor, _ in seen - self._watched:
            _keep_alive(descriptor)
        self._watched = seen
        return str(connected[0].raddr.ip) if connected else ""


def _keep_alive(descriptor: int) -> None:
    try:
        connection = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return  # it has ended meanwhile
    with connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_EVERY_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_TIMES)
