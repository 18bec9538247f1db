"""The engine against llama-server from the same sources: tokens for a second of processor time, over HTTP.

Both serve the same random 235 M Q8_0 model with 32 slots and the same kernels (llama-server links the
wheel's own libraries), all else as it comes. Each computes on one thread: with more, OpenMP's threads
spin while they wait, and what is measured is how busy the machine is. Requests have 64 prompt tokens, all
different, and stream their answer; prompt and generated tokens count alike. The rounds alternate, and
what is compared is the best round of each.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass

import psutil

from tests.bench.llama_server import CACHE, llama_server
from tests.bench.random_model import BENCH, random_model
from tests.engines.serving import RunningEngine, engine_process

CONCURRENT = (1, 4, 8, 16, 32)
SLOTS = 32
KV_TOKENS = 8192
PROMPT_TOKENS = 64
GENERATED_TOKENS = 96
THREADS = 1
ROUNDS = 2
LEAST_RATIO = {1: 1.0, 4: 1.0, 8: 1.3, 16: 1.3, 32: 1.3}
MOST_OVERHEAD = 0.05


@dataclass(frozen=True)
class Served:
    """A server under measurement."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """With those of processes that compute for it."""
        process = psutil.Process(self.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def main_thread_cpu_seconds(self) -> float:
        main = next(one for one in psutil.Process(self.pid).threads() if one.id == self.pid)
        return float(main.user_time + main.system_time)


@dataclass(frozen=True)
class Round:
    tokens: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.tokens / self.cpu_seconds


def main() -> bool:
    """Prints the table; whether every ratio and the overhead meet their targets."""
    model = random_model(CACHE / "models", BENCH)
    arguments = ["--slots", SLOTS, "--kv-tokens", KV_TOKENS, "--context-tokens", KV_TOKENS // SLOTS]
    arguments += ["--threads", THREADS]
    peer_arguments = ["-np", SLOTS, "-c", KV_TOKENS, "-t", THREADS]
    with (
        llama_server(model, *map(str, peer_arguments)) as peer,
        engine_process(model, *map(str, arguments), quiet=True) as engine,
    ):
        ours = Served(engine.port, engine.process.pid)
        servers = {"engine": ours, "llama-server": Served(peer.port, peer.process.pid)}
        for served in servers.values():
            _round(served, 4, seed=0)  # the first pass touches the weights
        ratios = {concurrent: _compare(servers, concurrent) for concurrent in CONCURRENT}
        overhead = _overhead(engine, ours)
    print(f"HTTP and Python beside a step of 8: {overhead:.1%} of it (at most {MOST_OVERHEAD:.0%})")
    return all(ratios[number] >= least for number, least in LEAST_RATIO.items()) and overhead < MOST_OVERHEAD


def _compare(servers: dict[str, Served], concurrent: int) -> float:
    """Prints a line for each server; our ratio to llama-server."""
    best: dict[str, Round] = {}
    for number in range(ROUNDS):
        for name, served in servers.items():
            done = _round(served, concurrent, seed=1000 * concurrent + number)
            if name not in best or done.tokens_per_cpu_second > best[name].tokens_per_cpu_second:
                best[name] = done
    ours = best["engine"].tokens_per_cpu_second
    for name, one in best.items():
        figures = (
            f"{one.tokens_per_cpu_second:6.1f} tokens/CPU-s {one.tokens / one.wall_seconds:6.1f} tokens/s"
        )
        print(
            f"{concurrent:3} at once   {name:12} {figures}   engine {ours / one.tokens_per_cpu_second:.2f} ×"
        )
    ratio = ours / best["llama-server"].tokens_per_cpu_second
    print(f"    ratio {ratio:.2f}, at least {LEAST_RATIO[concurrent]}", flush=True)
    return ratio


def _round(served: Served, concurrent: int, seed: int) -> Round:
    cpu, began = served.cpu_seconds(), time.monotonic()
    tokens = asyncio.run(_load(served.port, concurrent, seed))
    return Round(tokens, served.cpu_seconds() - cpu, time.monotonic() - began)


async def _load(port: int, concurrent: int, seed: int) -> int:
    draw = random.Random(seed)
    prompts = [[draw.randrange(300, 30000) for _ in range(PROMPT_TOKENS)] for _ in range(concurrent)]
    generated = await asyncio.gather(*(stream(port, prompt, GENERATED_TOKENS) for prompt in prompts))
    assert generated == [GENERATED_TOKENS] * concurrent, f"not all tokens came: {generated}"
    return concurrent * (PROMPT_TOKENS + GENERATED_TOKENS)


async def stream(port: int, prompt: list[int], max_tokens: int) -> int:
    """Asks for a streamed completion and reads it to its end; the generated tokens that its usage names."""
    body = json.dumps(
        {
            "model": "test-model",
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    usage = 0
    async for line in reader:
        if b'"usage":{' in line:
            usage = int(json.loads(line[len(b"data: ") :])["usage"]["completion_tokens"])
    writer.close()
    return usage


def _overhead(engine: RunningEngine, ours: Served) -> float:
    """The share of a step that is not llama.cpp: between decodes, and the event loop's processor time."""

    def state() -> tuple[float, float, float]:
        decode, other = engine.metric("step_decode_seconds_sum"), engine.metric("step_other_seconds_sum")
        return decode, other, ours.main_thread_cpu_seconds()

    before = state()
    for seed in range(2):
        _round(ours, 8, 77 + seed)
    decode, other, loop = (after - first for after, first in zip(state(), before, strict=True))
    return (other + loop) / (decode + other)
