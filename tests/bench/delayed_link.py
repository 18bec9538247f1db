"""A link that takes its time: what enters at one end leaves at the other `one_way_seconds` later, in order.

For machines whose kernel has no netem. It forwards TCP, so that a question and its answer take two ways
longer, as on a real link of that latency; it does not narrow the bandwidth.
"""

import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_CHUNK_BYTES = 1 << 18


@contextmanager
def delayed_link(ports: Sequence[tuple[int, int]], one_way_seconds: float) -> Iterator[None]:
    """Each pair is a port of loopback that is listened on, and the one behind it."""
    listeners = [socket.create_server(("127.0.0.1", near)) for near, _ in ports]
    try:
        for listener, (_, far) in zip(listeners, ports, strict=True):
            threading.Thread(target=_accept, args=(listener, far, one_way_seconds), daemon=True).start()
        yield
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _accept(listener: socket.socket, far: int, delay: float) -> None:
    while True:
        try:
            near_end, _ = listener.accept()
        except OSError:
            return
        far_end = socket.create_connection(("127.0.0.1", far))
        for one, other in ((near_end, far_end), (far_end, near_end)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            on_the_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=_take, args=(one, on_the_way, delay), daemon=True).start()
            threading.Thread(target=_give, args=(other, on_the_way), daemon=True).start()


def _take(end: socket.socket, on_the_way: "queue.Queue[tuple[float, bytes]]", delay: float) -> None:
    data = b"-"
    while data:
        try:
            data = end.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        on_the_way.put((time.monotonic() + delay, data))


def _give(end: socket.socket, on_the_way: "queue.Queue[tuple[float, bytes]]") -> None:
    while True:
        due, data = on_the_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                end.shutdown(socket.SHUT_WR)
                return
            end.sendall(data)
        except OSError:
            return
