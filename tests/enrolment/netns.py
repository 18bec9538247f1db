"""Two network namespaces joined by a virtual cable, and programs run inside them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cable:
    """Names of the two namespaces; `left` has 192.168.77.1, `right` 192.168.77.2."""

    left: str
    right: str

    def start(self, namespace: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        """A Python program in `namespace`."""
        return subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


@contextmanager
def cable() -> Iterator[Cable]:
    """Needs root."""
    left, right = f"enl{os.getpid()}", f"enr{os.getpid()}"
    try:
        for name in (left, right):
            ip(f"netns add {name}")
        ip(f"-n {left} link add lan0 type veth peer name lan0 netns {right}")
        for name, host in ((left, 1), (right, 2)):
            ip(f"-n {name} addr add 192.168.77.{host}/24 dev lan0")
            ip(f"-n {name} link set lan0 up")
            ip(f"-n {name} link set lo up")
        for name in (left, right):
            wait_until_running(name, "lan0")
        yield Cable(left, right)
    finally:
        for name in (left, right):
            subprocess.run(["ip", "netns", "del", name], check=False)


def ip(arguments: str) -> None:
    """Runs ip(8)."""
    subprocess.run(["ip", *arguments.split()], check=True)


def wait_until_running(namespace: str, interface: str) -> None:
    """Until the kernel has noticed that both ends are up, which takes it a moment."""
    deadline = time.monotonic() + 5
    command = ["ip", "-n", namespace, "link", "show", interface]
    while "state UP" not in subprocess.run(command, check=True, capture_output=True, text=True).stdout:
        assert time.monotonic() < deadline, f"{interface} does not come up"
        time.sleep(0.01)
