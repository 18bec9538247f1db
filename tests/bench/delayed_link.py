"""A link that takes its time: what enters at one end leaves at the other `one_way_seconds` later, in order.

For machines whose kernel has no netem. It forwards TCP, so that a question and its answer take two ways
longer, as on a real link of that latency; it does not narrow the bandwidth. What its own threads take comes
on top, so who predicts asks for the round trip that it really has (`measured_round_trip`).
"""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median

_CHUNK_BYTES = 1 << 18
_ECHOES = 40


@contextmanager
def delayed_link(
    ports: Sequence[tuple[int, int]],
    one_way_seconds: float,
    hear: Callable[[bool, int], None] = lambda is_answer, count: None,
) -> Iterator[None]:
    """Each pair is a port of loopback that is listened on, and the one behind it.

    `hear` is told of what passes, in order: whether it comes from behind, and how many bytes.
    """
    listeners = [socket.create_server(("127.0.0.1", near)) for near, _ in ports]
    try:
        for listener, (_, far) in zip(listeners, ports, strict=True):
            threading.Thread(target=_accept, args=(listener, far, one_way_seconds, hear), daemon=True).start()
        yield
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def measured_round_trip(near: int, far: int, one_way_seconds: float) -> float:
    """Seconds from a small message into such a link to its echo."""
    with socket.create_server(("127.0.0.1", far)) as echoing, delayed_link([(near, far)], one_way_seconds):
        threading.Thread(target=_echo, args=(echoing,), daemon=True).start()
        with socket.create_connection(("127.0.0.1", near)) as end:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            taken = []
            for _ in range(_ECHOES):
                started = time.perf_counter()
                end.sendall(b"-")
                end.recv(1)
                taken.append(time.perf_counter() - started)
    return median(taken)


def _echo(listener: socket.socket) -> None:
    end, _ = listener.accept()
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := end.recv(_CHUNK_BYTES):
        end.sendall(data)


def _accept(listener: socket.socket, far: int, delay: float, hear: Callable[[bool, int], None]) -> None:
    while True:
        try:
            near_end, _ = listener.accept()
        except OSError:
            return
        far_end = socket.create_connection(("127.0.0.1", far))
        for one, other, is_answer in ((near_end, far_end, False), (far_end, near_end, True)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            on_the_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
            hearing = partial(hear, is_answer)
            threading.Thread(target=_take, args=(one, on_the_way, delay, hearing), daemon=True).start()
            threading.Thread(target=_give, args=(other, on_the_way), daemon=True).start()


def _take(
    end: socket.socket,
    on_the_way: "queue.Queue[tuple[float, bytes]]",
    delay: float,
    hear: Callable[[int], None],
) -> None:
    data = b"-"
    while data:
        try:
            data = end.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        hear(len(data))
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
