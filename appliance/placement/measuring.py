"""A short benchmark of a running engine: real requests with a fixed text, one alone and then several at once.

The engine is asked directly, at its own socket or tunnel address, as the pool asks it. Each request begins
with its own number, so that nothing computed for another one is used again. A benchmark ends after its
limit, and whoever works at the node or asks the engine meanwhile ends it in the middle of its requests: then
nothing is measured.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import TryAgain

PROMPT_TOKENS_ABOUT = 256
ANSWER_TOKENS = 48
LIMIT_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.25
"""Whether somebody came."""
_SENTENCE = "An office keeps letters, invoices, minutes and plans, and somebody has to find them again. "


class NotMeasured(TryAgain):
    """The benchmark was given up; nothing is known that was not known before."""

    code = "not_measured"


class MadeWay(NotMeasured):
    """The benchmark was given up for somebody's sake: the engine did nothing wrong."""

    code = "benchmark_made_way"


@dataclass(frozen=True)
class EngineAddress:
    """A unix socket of the box, or a worker's host and port."""

    socket_path: Path | None = None
    host: str = ""
    port: int = 0


@dataclass(frozen=True)
class EngineSpeed:
    """Tokens a second: reading a prompt, answering alone, and `at_once` answers together."""

    prompt: float
    alone: float
    together: float
    at_once: int
    seconds: float
    """The benchmark took so long."""


@dataclass(frozen=True)
class _Run:
    prompt_tokens: int
    answer_tokens: int
    first_token_seconds: float
    seconds: float


def measure_engine(
    address: EngineAddress,
    model: str,
    at_once: int,
    *,
    limit_seconds: float = LIMIT_SECONDS,
    disturbed: Callable[[], str] = lambda: "",
) -> EngineSpeed:
    """Takes seconds to a minute. `disturbed` says why it must end now, "" for nothing; that others ask the
    engine is seen here. Raises NotMeasured, MadeWay."""
    began = time.monotonic()
    number = time.time_ns() // 1000
    asking = _Asking(address, model, began + limit_seconds, disturbed)
    if why := asking.others(0):
        raise _made_way(why)
    asking.together([number], ANSWER_TOKENS // 8)  # what is made at the first use must not count
    (alone,) = asking.together([number + 1], ANSWER_TOKENS)
    decode_seconds = max(alone.seconds - alone.first_token_seconds, 1e-6)
    alone_speed = max(1, alone.answer_tokens - 1) / decode_seconds
    together = alone_speed
    if at_once > 1:
        started = time.monotonic()
        runs = asking.together(range(number + 2, number + 2 + at_once), ANSWER_TOKENS)
        took = time.monotonic() - started
        # the time that reading the prompts took is not the answers' own
        reading = sum(run.prompt_tokens for run in runs) / (alone.prompt_tokens / alone.first_token_seconds)
        together = sum(run.answer_tokens for run in runs) / max(took - reading, took / 4)
    if why := disturbed():
        raise _made_way(why)
    return EngineSpeed(
        prompt=alone.prompt_tokens / max(alone.first_token_seconds, 1e-6),
        alone=alone_speed,
        together=together,
        at_once=max(1, at_once),
        seconds=time.monotonic() - began,
    )


class _Asking:
    def __init__(
        self, address: EngineAddress, model: str, until: float, disturbed: Callable[[], str]
    ) -> None:
        self._address = address
        self._model = model
        self._until = until
        self._disturbed = disturbed
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._has_hung_up = False

    def together(self, numbers: Sequence[int], answer_tokens: int) -> list[_Run]:
        """Several completions at once, all broken off when somebody comes. Raises NotMeasured, MadeWay."""
        if why := self._disturbed():
            raise _made_way(why)
        with ThreadPoolExecutor(len(numbers)) as threads:
            asked = [threads.submit(self._one, number, answer_tokens) for number in numbers]
            while wait(asked, _LOOK_EVERY_SECONDS, FIRST_EXCEPTION).not_done:
                if why := self._disturbed() or self.others(len(numbers)):
                    self._hang_up()
                    raise _made_way(why)
                if failed := next((each for each in asked if each.done() and each.exception()), None):
                    self._hang_up()
                    failed.result()
        return [each.result() for each in asked]

    def others(self, own: int) -> str:
        """The engine counts what it answers: more than what this benchmark asked is somebody's."""
        connection = _connection(self._address, _LOOK_EVERY_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            said = json.loads(connection.getresponse().read(65536))
            is_asked = int(said.get("busy") or 0) + int(said.get("waiting") or 0) > own
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return ""  # who doesn't answer is no reason: a slow machine may be busy with the benchmark itself
        finally:
            connection.close()
        return "a request came to the engine" if is_asked else ""

    def _hang_up(self) -> None:
        with self._lock:
            self._has_hung_up = True
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _one(self, number: int, answer_tokens: int) -> _Run:
        """One streamed completion. Raises NotMeasured."""
        prompt = f"{number} " + _SENTENCE * (PROMPT_TOKENS_ABOUT // 18)
        body = json.dumps(
            {
                "model": self._model, "prompt": prompt, "max_tokens": answer_tokens, "temperature": 0,
                "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True},
            }
        )  # fmt: skip
        left = self._until - time.monotonic()
        if left <= 0:
            raise _given_up("it took longer than it may")
        connection = _connection(self._address, left)
        try:
            connection.connect()
            with self._lock:
                self._open.add(connection.sock)
            return self._read(connection, body)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise _given_up(f"the engine did not answer as it should ({error})") from error
        finally:
            connection.close()

    def _read(self, connection: http.client.HTTPConnection, body: str) -> _Run:
        began = time.monotonic()
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {response.read(200).decode(errors='replace')}")
        first: float | None = None
        usage: dict[str, Any] = {}
        for raw in response:
            if not raw.startswith(b"data: {"):
                continue
            if self._has_hung_up or time.monotonic() > self._until:
                raise _given_up("it took longer than it may")
            event = json.loads(raw[6:])
            if event.get("choices") and first is None:
                first = time.monotonic() - began
            usage = event.get("usage") or usage
        if first is None:
            raise ValueError("no token came")
        took = time.monotonic() - began
        return _Run(int(usage["prompt_tokens"]), int(usage["completion_tokens"]), first, took)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(address: EngineAddress, seconds: float) -> http.client.HTTPConnection:
    if address.socket_path is not None:
        return _UnixConnection(address.socket_path, seconds)
    return http.client.HTTPConnection(address.host, address.port, timeout=seconds)


def _given_up(why: str) -> NotMeasured:
    return NotMeasured(f"The benchmark was given up: {why}.", retry_after_seconds=600)


def _made_way(why: str) -> MadeWay:
    return MadeWay(f"The benchmark made way: {why}.", retry_after_seconds=60)
