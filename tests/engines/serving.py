"""A real engine process on a real socket, for the tests of any package.

from tests.engines.serving import engine_process, demo_engine  # demo_engine: a session fixture
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from tests.conftest import DEMO_MODEL, free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningEngine:
    """An engine that is ready, listening on loopback."""

    process: subprocess.Popen[bytes]
    port: int
    model: str

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def client(self, timeout: float = 60) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.base_url, api_key="none", max_retries=0, timeout=timeout)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> "Reply":
        """One request; `body`: bytes as they are, everything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()

    def chat(self, text: str, **parameters: Any) -> "Reply":
        messages = [{"role": "user", "content": text}]
        body = {"model": self.model, "messages": messages, **parameters}
        return self.call("POST", "/v1/chat/completions", body)

    def complete(self, prompt: Any, **parameters: Any) -> "Reply":
        body = {"model": self.model, "prompt": prompt, **parameters}
        return self.call("POST", "/v1/completions", body)

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.call("GET", "/health/ready").json()
        return health

    def metric(self, name: str, labels: str = "") -> float:
        text = self.call("GET", "/metrics").body.decode()
        wanted = f"cellule_engine_{name}{labels} "
        return next(float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def raw(self, path: str, body: Any) -> socket.socket:
        """A socket on which the request was just sent."""
        data = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        return connection


class HeldRequest:
    """A completion that the engine has begun to answer, and whose body a test holds back."""

    def __init__(self, connection: socket.socket, model: str) -> None:
        self._connection = connection
        self._body = json.dumps({"model": model, "prompt": "a", "max_tokens": 3}).encode()
        connection.settimeout(30)
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(self._body)
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 "), "the engine reads the body"

    @classmethod
    def over_unix_socket(cls, path: Path, model: str) -> "HeldRequest":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return cls(connection, model)

    def let_go(self) -> bytes:
        """The whole answer, head and body."""
        with self._connection:
            self._connection.sendall(self._body)
            return b"".join(iter(lambda: self._connection.recv(65536), b""))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json()["error"]
        return error

    @property
    def text(self) -> str:
        """Of the first choice, chat or plain."""
        choice = self.json()["choices"][0]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])


def events(connection: socket.socket) -> Generator[tuple[float, dict[str, Any]], None, None]:
    """When each server-sent event of the answer came, and what it held."""
    with connection.makefile("rb") as lines:
        for line in lines:
            if line.startswith(b"data: [DONE]"):
                return
            if line.startswith(b"data: {"):
                yield time.monotonic(), json.loads(line[6:])


@contextmanager
def engine_process(
    model: Path | None, *arguments: str, name: str = "test-model", quiet: bool = False, ready: bool = True
) -> Iterator[RunningEngine]:
    """Starts the engine, waits until it is ready, and stops it at the end. It logs to the test's output.

    `model`: None where the engine needs no file. `ready`: False to wait only until it answers.
    """
    port = free_port()
    command = [sys.executable, "-m", "appliance.engines", "--name", name]
    if model is not None:
        command += ["--model", str(model)]
    process = subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{port}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL if quiet else None,
    )
    engine = RunningEngine(process, port, name)
    try:
        wait_until(
            lambda: process.poll() is not None or engine.health()["ready"] or not ready,
            within_seconds=60,
            what=f"the engine is ready with {model.name if model else 'its server'}",
        )
        assert process.poll() is None, f"the engine ended with {process.returncode}"
        yield engine
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


@pytest.fixture(scope="session")
def demo_engine() -> Iterator[RunningEngine]:
    """The demo model with 4 slots, under the name cellule-demo."""
    with engine_process(DEMO_MODEL, "--slots", "4", name="cellule-demo") as engine:
        yield engine
