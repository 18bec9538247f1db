"""python -m appliance.engines.measuring --model FILE [--engine NAME …]: how fast is it on this machine?

The faster engine of a node is chosen by this, not by a table. Each engine is measured as it serves: a real
process, asked over its socket. The figures are of a short fixed benchmark: one long prompt for reading, then
greedy answers, alone and many at once. An engine that can't serve the model is named with its reason and left
out.
"""

import argparse
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import Broken
from appliance.hardware.profile import EngineName, Setting

LOAD_LIMIT_SECONDS = 600.0
ANSWER_LIMIT_SECONDS = 120.0
PROMPT_WORDS = 512
ANSWER_TOKENS = 64
TOGETHER = 8
_WORDS = ("box", "office", "paper", "morning", "answer", "train", "garden", "number", "window", "coffee")


class MeasuredSpeed(BaseModel):
    """What one engine did with one model on this machine."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    engine: EngineName
    device: str
    model: str
    load_seconds: float = Field(ge=0)
    """From the start of the process to its first token."""
    prompt_tokens_per_second: float = Field(ge=0)
    tokens_per_second_alone: float = Field(ge=0)
    """Generated, one answer running."""
    tokens_per_second_together: float = Field(ge=0)
    """Generated, of all answers, `together` of them running."""
    together: int = Field(ge=1)


class EngineNotMeasured(Broken):
    """It did not start, or did not answer; the sentence has its own reason."""

    code: ClassVar[str] = "engine_not_measured"


def measure_speed(
    model_file: Path,
    engine: EngineName = EngineName.LLAMA_CPP,
    device: str = "CPU",
    settings: dict[str, Setting] | None = None,
    *,
    together: int = TOGETHER,
    threads: int = 0,
) -> MeasuredSpeed:
    """Starts the engine, measures it and stops it: seconds to minutes. Raises EngineNotMeasured."""
    arguments = ["--engine", engine, "--device", device, "--slots", str(together), "--threads", str(threads)]
    for name, value in (settings or {}).items():
        arguments += ["--setting", f"{name}={json.dumps(value)}"]
    with _started(model_file, arguments) as asked:
        at_once = min(together, int(asked.health()["slots"]))
        reading = asked.reading_tokens_per_second()
        return MeasuredSpeed(
            engine=engine,
            device=device,
            model=model_file.name,
            load_seconds=round(asked.load_seconds, 2),
            prompt_tokens_per_second=round(reading, 1),
            tokens_per_second_alone=round(asked.answering_tokens_per_second(1), 1),
            tokens_per_second_together=round(asked.answering_tokens_per_second(at_once), 1),
            together=at_once,
        )


@contextmanager
def _started(model_file: Path, arguments: Sequence[str]) -> Iterator["_Asked"]:
    with tempfile.TemporaryDirectory(prefix="cellule-measuring-") as folder:
        path, log = Path(folder) / "engine.sock", Path(folder) / "engine.log"
        command = [
            sys.executable,
            "-m",
            "appliance.engines",
            "--model",
            str(model_file),
            "--name",
            "measured",
        ]
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--listen", f"unix:{path}", *arguments], stdout=output, stderr=output
            )
        try:
            _wait_until_ready(process, path, log)
            yield _Asked(path, time.monotonic() - began)
        except OSError as error:
            raise EngineNotMeasured(f"The engine stopped answering: {error}.") from error
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + LOAD_LIMIT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise EngineNotMeasured(f"The engine ended and said: {said[-1]}")
        try:
            if _Asked(path, 0).health()["ready"]:
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise EngineNotMeasured(f"The engine was not ready within {LOAD_LIMIT_SECONDS:g} seconds.")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=ANSWER_LIMIT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class _Asked:
    """The engine behind a socket."""

    path: Path
    load_seconds: float

    def health(self) -> dict[str, Any]:
        return self._call("GET", "/health/ready", None)

    def reading_tokens_per_second(self) -> float:
        """Of a prompt that nothing is known of, to its first token."""
        limit = self.health().get("prompt_tokens") or self.health()["context_tokens"] - 1
        words = min(PROMPT_WORDS, limit // 4)  # a word may be several tokens
        began = time.monotonic()
        usage = self._complete(_prompt(1, words), 1)
        return float(usage["prompt_tokens"] / (time.monotonic() - began))

    def answering_tokens_per_second(self, at_once: int) -> float:
        """Of `at_once` answers that begin together; their short prompts are read in that time too."""
        with ThreadPoolExecutor(at_once) as pool:
            began = time.monotonic()
            seeds = range(100, 100 + at_once)
            usages = list(pool.map(lambda seed: self._complete(_prompt(seed, 8), ANSWER_TOKENS), seeds))
        return float(sum(usage["completion_tokens"] for usage in usages) / (time.monotonic() - began))

    def _complete(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        body = {"model": "measured", "prompt": prompt, "max_tokens": max_tokens}
        answer = self._call("POST", "/v1/completions", {**body, "temperature": 0, "ignore_eos": True})
        if "usage" not in answer:
            raise EngineNotMeasured(f"The engine refused the benchmark: {answer['error']['message']}")
        usage: dict[str, Any] = answer["usage"]
        return usage

    def _call(self, method: str, target: str, body: object) -> dict[str, Any]:
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, target, json.dumps(body).encode() if body else None)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"no valid answer: {error}") from error
        finally:
            connection.close()


def _prompt(seed: int, words: int) -> str:
    """The same words for the same seed, so that machines can be compared."""
    return " ".join(random.Random(seed).choices(_WORDS, k=max(2, words)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m appliance.engines.measuring", description=__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument(
        "--engine", action="append", type=EngineName, help="may be given again; both without it"
    )
    parser.add_argument("--device", default="CPU", help="OpenVINO's device, or llama.cpp's backend")
    parser.add_argument("--together", type=int, default=TOGETHER)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    measured = []
    for engine in given.engine or (EngineName.LLAMA_CPP, EngineName.OPENVINO):
        try:
            measured.append(
                measure_speed(
                    given.model, engine, given.device, together=given.together, threads=given.threads
                )
            )
        except EngineNotMeasured as error:
            sys.stderr.write(f"{engine}: {error}\n")
    measured.sort(key=lambda speed: -speed.tokens_per_second_together)
    sys.stdout.write(json.dumps([speed.model_dump(mode="json") for speed in measured], indent=2) + "\n")
    if not measured:
        sys.exit(1)


if __name__ == "__main__":
    main()
