"""The OpenVINO engine over HTTP against GenAI's bare pipeline, and how soon each engine has the demo model.

Both run the same random 235 M Q8_0 model with the same scheduler on one thread, each in a process of its own;
the same prompts, the same number of tokens. Compared are tokens for a second of processor time, the best of
alternating rounds: on a busy machine the clock says little.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from tests.bench.engine import Round, Served, stream
from tests.bench.llama_server import CACHE
from tests.bench.random_model import BENCH, random_model
from tests.conftest import DEMO_MODEL
from tests.engines.serving import ROOT, engine_process

ROUNDS = {1: 6, 8: 4, 32: 4}
"""How often for so many at once: a round of few is short, and others disturb it more."""
SLOTS = 32
CONTEXT_TOKENS = 256
KV_TOKENS = SLOTS * CONTEXT_TOKENS
PROMPT_TOKENS = 64
GENERATED_TOKENS = 64
LEAST_RATIO = 0.95
MOST_LOAD_SECONDS = 1.0
LOAD = """
import asyncio, time
from pathlib import Path
from appliance.engines.loading import load
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions
from appliance.hardware.profile import EngineName
began = time.monotonic()
engine = load(EngineOptions(Path({model!r}), "m", engine=EngineName({engine!r})), EngineMetrics())
asyncio.run(engine.warm_up())
print(time.monotonic() - began)
"""


def main() -> bool:
    """Prints the table; whether every ratio and both times to load meet their targets."""
    others = psutil.getloadavg()[0]
    print(f"{others:.1f} processes of others want the {psutil.cpu_count()} processors")
    loads = [_load_seconds(engine) for engine in ("llama.cpp", "openvino")]
    model = random_model(CACHE / "models", BENCH)
    arguments = ["--engine", "openvino", "--slots", SLOTS, "--kv-tokens", KV_TOKENS, "--threads", 1]
    arguments += ["--context-tokens", CONTEXT_TOKENS]
    with bare_pipeline(str(model)) as bare, engine_process(model, *map(str, arguments), quiet=True) as engine:
        served = Served(engine.port, engine.process.pid)
        _compare(bare, served, 4, rounds=1)  # the first pass touches the weights
        ratios = [_compare(bare, served, concurrent, rounds=rounds) for concurrent, rounds in ROUNDS.items()]
    return min(ratios) >= LEAST_RATIO and max(loads) < MOST_LOAD_SECONDS


def _load_seconds(engine: str) -> float:
    """From the call that loads to the first token, the best of three processes."""
    program = LOAD.format(model=str(DEMO_MODEL), engine=engine)
    seconds = min(
        float(
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
        )
        for _ in range(3)
    )
    print(
        f"{engine:10} has the demo model after {seconds:.2f} s (less than {MOST_LOAD_SECONDS:g} s)",
        flush=True,
    )
    return seconds


class Bare:
    """The pipeline's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def round(self, prompts: list[list[int]]) -> Round:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": GENERATED_TOKENS}) + "\n")
        self._process.stdin.flush()
        done: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert done["tokens"] == len(prompts) * GENERATED_TOKENS
        return Round(done["tokens"] + _prompt_tokens(prompts), done["cpu_seconds"], done["wall_seconds"])


@contextmanager
def bare_pipeline(model: str) -> Iterator[Bare]:
    blocks = KV_TOKENS // 32 + SLOTS
    command = [sys.executable, "-m", "tests.bench.openvino_bare", model, str(SLOTS), str(blocks)]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield Bare(process)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _compare(bare: Bare, served: Served, concurrent: int, rounds: int) -> float:
    """Prints a line for each; our ratio to the bare pipeline, both at their best."""
    ours, theirs = [], []
    for number in range(rounds):
        draw = random.Random(1000 * concurrent + number)
        prompts = [[draw.randrange(300, 30000) for _ in range(PROMPT_TOKENS)] for _ in range(concurrent)]
        theirs.append(bare.round(prompts))
        ours.append(_served_round(served, prompts))
    best = {}
    for name, done in (("ours", ours), ("bare", theirs)):
        best[name] = max(each.tokens_per_cpu_second for each in done)
        wall = max(each.tokens / each.wall_seconds for each in done)
        print(f"{concurrent:3} at once   {name}   {best[name]:6.1f} tokens/CPU-s {wall:6.1f} tokens/s")
    ratio = best["ours"] / best["bare"]
    print(f"    ratio {ratio:.2f}, at least {LEAST_RATIO}", flush=True)
    return ratio


def _served_round(served: Served, prompts: list[list[int]]) -> Round:
    cpu, began = served.cpu_seconds(), time.monotonic()
    generated = asyncio.run(_ask_all(served.port, prompts))
    assert generated == [GENERATED_TOKENS] * len(prompts), f"not all tokens came: {generated}"
    tokens = sum(generated) + _prompt_tokens(prompts)
    return Round(tokens, served.cpu_seconds() - cpu, time.monotonic() - began)


async def _ask_all(port: int, prompts: list[list[int]]) -> list[int]:
    return await asyncio.gather(*(stream(port, prompt, GENERATED_TOKENS) for prompt in prompts))


def _prompt_tokens(prompts: list[list[int]]) -> int:
    return sum(map(len, prompts))
