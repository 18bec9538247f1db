"""Pool and engine tell systemd that they are ready when they are, and fall silent when their loop hangs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.boot.asking import ask
from appliance.settings import Settings
from tests.conftest import DEMO_MODEL

ROOT = Path(__file__).parents[2]
PERIOD_SECONDS = 0.6


HANGING = """
import time
from appliance.engines import __main__, engine, text_engine
text_engine._STALLED_SECONDS = 0.3
step, started = engine.Batcher._step, engine.Batcher.submit
def submit(batcher, *given):
    batcher.hangs = hasattr(batcher, "hangs")  # the first is the warm-up
    return started(batcher, *given)
engine.Batcher.submit = submit
engine.Batcher._step = lambda batcher: time.sleep(30) if batcher.hangs else step(batcher)
__main__.main()
"""


class Systemd:
    """The socket that systemd listens on, and what it heard."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(str(path))
        self.listener.settimeout(20)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(PERIOD_SECONDS * 1e6))}

    def hears(self) -> str:
        return self.listener.recv(1000).decode()

    def silence_seconds(self, up_to: float) -> float:
        """How long nothing comes, after what has come already; `up_to` at most."""
        self.listener.setblocking(False)
        while True:
            try:
                self.listener.recv(1000)
            except BlockingIOError:
                break
        started = time.monotonic()
        self.listener.settimeout(up_to)
        try:
            self.listener.recv(1000)
        except TimeoutError:
            return up_to
        return time.monotonic() - started


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    with systemd.listener:
        yield systemd


@pytest.fixture
def running(settings: Settings, systemd: Systemd, request: pytest.FixtureRequest) -> Iterator[int]:
    """The program that the test names; the process id of the one that answers."""
    listen = f"unix:{settings.engine_socket('demo')}"
    engine = ["--model", str(DEMO_MODEL), "--name", "demo", "--listen", listen]
    commands = {
        "pool": ["-m", "gunicorn", "-c", "appliance/pool/gunicorn_conf.py", "appliance.pool.app:app"],
        "engine": ["-m", "appliance.engines", *engine],
        "engine whose second answer hangs": ["-c", HANGING, *engine],
    }
    process = subprocess.Popen(
        [sys.executable, *commands[request.param]],
        cwd=ROOT,
        env=os.environ | settings.environment() | systemd.environment | {"PYTHONPATH": str(ROOT)},
    )
    assert systemd.hears() == "READY=1", "and nothing before it"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    try:
        yield int(children[0]) if request.param == "pool" else process.pid
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("running", ["pool", "engine"], indirect=True)
def test_a_process_that_hangs_falls_silent(running: int, systemd: Systemd) -> None:
    assert [systemd.hears() for _ in range(3)] == ["WATCHDOG=1"] * 3
    assert systemd.silence_seconds(up_to=PERIOD_SECONDS) < PERIOD_SECONDS
    os.kill(running, signal.SIGSTOP)
    try:
        assert systemd.silence_seconds(up_to=2 * PERIOD_SECONDS) == 2 * PERIOD_SECONDS
    finally:
        os.kill(running, signal.SIGCONT)
    assert systemd.hears() == "WATCHDOG=1"


@pytest.mark.parametrize("running", ["engine whose second answer hangs"], indirect=True)
@pytest.mark.usefixtures("running")
def test_an_engine_that_makes_no_more_steps_falls_silent(settings: Settings, systemd: Systemd) -> None:
    engine = settings.engine_socket("demo")
    assert ask(engine, "/health/live")[0] == 200
    question = b'{"model": "demo", "prompt": "Bonjour", "max_tokens": 1}'
    with pytest.raises(TimeoutError):
        ask(engine, "/v1/completions", body=question, timeout_seconds=0.5)
    assert systemd.silence_seconds(up_to=2 * PERIOD_SECONDS) == 2 * PERIOD_SECONDS
    assert ask(engine, "/health/live")[0] == 503, "its event loop still turns"
