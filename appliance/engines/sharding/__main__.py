"""python -m appliance.engines.sharding --listen ADDRESS:PORT --memory-bytes N [--device CPU]

Lends memory to the head of a split model: computes on PORT, tells how it is on the port above. Ends with 1
and a sentence where it can't listen or was told to listen outside of the tunnel; with 0 when asked to.
"""

import argparse
import http.server
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import psutil

from appliance.engines.llama_devices import own_device
from appliance.engines.sharding.lending import Head, Lending
from appliance.engines.sharding.parts import PartAddress, part_address
from appliance.engines.sharding.rpc import BUILD, serve
from appliance.engines.sharding.status import STATUS_PATH, PartStatus
from appliance.errors import Refusal, Refused

_log = logging.getLogger("appliance.engines.sharding")
_LEAST_MEMORY_BYTES = 1024 * 1024
_LOOK_EVERY_SECONDS = 1.0
_STATUS_STACK_BYTES = 256 * 1024
"""Stacks count as memory that is used."""


class PortTaken(Refused):
    """Another program listens where the part should."""

    code = "port_taken"


def main() -> NoReturn:
    given = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        _lend(part_address(given.listen), given.device, given.memory_bytes, given.threads)
        status = 0
    except Refusal as error:
        _log.critical("%s", error)
        status = 1
    logging.shutdown()
    os._exit(status)  # the thread that computes can't be interrupted


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m appliance.engines.sharding", description="Lend memory to a split model."
    )
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT", help="of the tunnel")
    parser.add_argument("--memory-bytes", required=True, type=int, help="what may be used of the device")
    parser.add_argument("--device", default="CPU", help="as llama.cpp names it: CPU, CUDA0, Vulkan0")
    parser.add_argument("--threads", type=int, default=0, help="0: one per physical core")
    given = parser.parse_args()
    if given.memory_bytes < _LEAST_MEMORY_BYTES:
        parser.error(f"--memory-bytes must be at least {_LEAST_MEMORY_BYTES}")
    return given


def _lend(address: PartAddress, device_name: str, memory_bytes: int, threads: int) -> None:
    """Returns when asked to end. Raises PortTaken, DeviceUnknown."""
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    _check_free(address)
    device = own_device(device_name)
    threads = threads or _physical_cores()
    lending, head = Lending(device, memory_bytes, threads), Head(address.port)
    instance = secrets.token_hex(8)

    def status() -> PartStatus:
        used_by = head.address()
        return PartStatus(
            ready=True,
            instance=instance,
            build=BUILD,
            device=device.title,
            memory_bytes=lending.memory_bytes,
            used_bytes=lending.used_bytes(in_use=bool(used_by)),
            used_by=used_by,
        )

    computing = threading.Thread(target=serve, args=(str(address), device, threads), daemon=True)
    computing.start()
    threading.stack_size(_STATUS_STACK_BYTES)
    server = http.server.ThreadingHTTPServer(
        (str(address.host), address.status_port), partial(_StatusRequest, status)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _log.info("lends %d MB of %s on %s", memory_bytes // 10**6, device.name, address)
    told = ""
    while not asked_to_end.wait(_LOOK_EVERY_SECONDS):
        if not computing.is_alive():
            raise PortTaken(f"The part can't listen on {address}.")
        if (now := head.address()) != told:
            _log.info("%s", f"{now} computes here now" if now else f"{told} has gone")
            told = now


class _StatusRequest(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def __init__(self, status: Callable[[], PartStatus], *given: object) -> None:
        self._status = status
        super().__init__(*given)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != STATUS_PATH:
            self.send_error(404)
            return
        body = self._status().model_dump_json().encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *given: object) -> None:
        """Asked every second: nothing to log."""


def _check_free(address: PartAddress) -> None:
    for port in (address.port, address.status_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((str(address.host), port))
            except OSError as error:
                raise PortTaken(
                    f"The part can't listen on {address.host}:{port}: {error.strerror}.",
                    next_step="See which program has that port, and whether the tunnel is up.",
                ) from error


def _physical_cores() -> int:
    physical = psutil.cpu_count(logical=False) or 1
    return min(physical, len(psutil.Process().cpu_affinity() or [1]))


if __name__ == "__main__":
    sys.exit(main())
