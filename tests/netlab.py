"""A company network on one machine: a LAN bridge and one network namespace for each computer on it.

    with Lab("box", "pc1", "client") as lab:
        server = lab.popen("box", [sys.executable, "-m", ...])
        with lab.inside("client"):
            urllib.request.urlopen(f"https://{lab.address('box')}:8080/")

Needs root. Names carry the pid, so labs may run side by side; leaving the lab ends what was started in it
and nothing else. Files and unix sockets are shared with the machine: only the network is apart.
"""

import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.settings import Settings
from tests.waiting import wait_until

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_numbers = count()


class Lab:
    """Computers named `names` on one LAN, 10.99.0.0/24, each with `eth0` and loopback; no way out of it."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self._tag = f"cl{os.getpid()}x{next(_numbers)}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = tempfile.TemporaryDirectory(prefix="cellule-lab-")

    def __enter__(self) -> Self:
        lan = self.namespace("lan")
        try:
            _ip("netns", "add", lan)
            # without snooping a multicast query passes before the bridge has learnt who listens
            _ip("-n", lan, "link", "add", "lan", "up", "type", "bridge", "mcast_snooping", "0")
            for name in self.names:
                self._plug_in(name, lan)
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.logs(last_characters=4000))
        self._tear_down()

    def namespace(self, name: str) -> str:
        """The network namespace of a computer."""
        return f"{self._tag}-{name}"

    def address(self, name: str) -> str:
        """The LAN address of a computer."""
        return f"10.99.0.{self.names.index(name) + 1}"

    def tunnel_name(self, name: str) -> str:
        """A WireGuard interface name for a computer; wireguard-go wants it unique on the whole machine."""
        return f"w{os.getpid()}{self._tag.rpartition('x')[2]}{self.names.index(name)}"

    def popen(
        self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts `argv` on a computer, with `env` added to ours; output goes to `log`. Ended with the lab."""
        with self._log_path(len(self._processes), name, argv).open("wb") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(name), *argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """What a process has written so far, standard output and error together."""
        number = self._processes.index(process)
        (path,) = Path(self._logs.name).glob(f"{number:02d}-*")
        return path.read_text(errors="replace")

    def logs(self, last_characters: int | None = None) -> str:
        """What all processes have written, each under its name."""
        logs = sorted(Path(self._logs.name).iterdir())
        texts = ((log.name, log.read_text(errors="replace")) for log in logs)
        return "\n".join(f"--- {name}\n{text[-(last_characters or len(text)) :]}" for name, text in texts)

    def run(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout_seconds: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `argv` on a computer to its end. Raises AssertionError with its output when it fails."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(name), *argv],
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}"
        return done

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """New sockets and processes of the calling thread are on that computer; older ones stay."""
        with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{self.namespace(name)}") as there:  # noqa: PTH123
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def unplug(self, name: str) -> None:
        """Pulls a computer's network cable."""
        _ip("-n", self.namespace("lan"), "link", "set", _port(name), "down")

    def plug(self, name: str) -> None:
        """Puts the cable back."""
        _ip("-n", self.namespace("lan"), "link", "set", _port(name), "up")

    def stop(self, process: subprocess.Popen[bytes], *, limit_seconds: float = 10) -> int:
        """SIGTERM to a process of this lab, and its exit code. Raises AssertionError when it stays."""
        process.terminate()
        try:
            return process.wait(limit_seconds)
        except subprocess.TimeoutExpired as error:
            said = self.log(process)[-2000:]
            raise AssertionError(f"{process.args!r} did not stop within {limit_seconds} s: {said}") from error

    def pids(self, name: str) -> list[int]:
        """Every process on a computer, also those that left their parent."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace(name)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split() if int(pid) != os.getpid()]

    def _plug_in(self, name: str, lan: str) -> None:
        namespace = self.namespace(name)
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            "eth0",
            "netns",
            namespace,
            "type",
            "veth",
            "peer",
            "name",
            _port(name),
            "netns",
            lan,
        )
        _ip("-n", lan, "link", "set", _port(name), "master", "lan", "up")
        _ip("-n", namespace, "address", "add", f"{self.address(name)}/24", "brd", "+", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")

    def _tear_down(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for name in self.names:
            # our namespaces hold our processes only; wireguard-go among them has left its parent
            for pid in self.pids(name):
                _kill(pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        for name in (*self.names, "lan"):
            for pid in self.pids(name):
                _kill(pid, signal.SIGKILL)
            wait_until(partial(self._is_empty, name), within_seconds=5, what=f"{name} is empty")
            subprocess.run(["ip", "netns", "del", self.namespace(name)], capture_output=True, check=False)
        for name in self.names:
            # a wireguard-go that was killed leaves its control socket
            Path(f"/run/wireguard/{self.tunnel_name(name)}.sock").unlink(missing_ok=True)
        self._logs.cleanup()

    def _is_empty(self, name: str) -> bool:
        return not self.pids(name)

    def _log_path(self, number: int, name: str, argv: Sequence[str]) -> Path:
        program = "-".join(Path(word).name for word in argv[:3])
        return Path(self._logs.name) / f"{number:02d}-{name}-{program}"[:120]


def settings_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process read the same settings."""
    return settings.environment()


def _port(name: str) -> str:
    """The bridge's end of a computer's cable; prefixed, for ip takes short names as its own words."""
    return f"port-{name}"


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _kill(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
