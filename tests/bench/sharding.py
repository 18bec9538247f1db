"""What a split costs, against what planning says: a token's time with one and two parts, 0.3 to 10 ms away.

The model is random, 100 M parameters at Q8_0; head and parts compute on one thread each, one after the other,
so two processors are enough, if nothing else takes them. The speed that planning is told is the unsplit
model's own, measured in turn with the split one, and the round trip is the link's own, measured as well. The
latency is made by `delayed_link`, for not every kernel has netem. Compared is the best of ROUNDS of each.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.engines.sharding.sizes import Weights
from appliance.engines.sharding.weights import read_weights
from appliance.placement.split_cost import Share, SplitModel, SplitNode, split_seconds
from tests.bench.delayed_link import delayed_link, measured_round_trip
from tests.bench.random_model import Shape, random_model
from tests.conftest import free_port
from tests.engines.serving import RunningEngine, engine_process
from tests.engines.splitting import RunningPart, running_part

CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
SHAPE = Shape("Random 100M", 32768, 768, 2304, 10, 12, 6)
KV_TOKENS = 1024
GENERATED_TOKENS = 40
ROUNDS = 8
SPLITS = ((5,), (4, 4))
"""Layers on each part; the head keeps the rest of ten."""
ROUND_TRIP_SECONDS = (0.0003, 0.002, 0.01)
LOOPBACK_BYTES_PER_SECOND = 1e9
MOST_DEVIATION = 0.35
ENGINE = ("--slots", "1", "--threads", "1", "--context-tokens", str(KV_TOKENS))


@dataclass(frozen=True)
class Setup:
    """The model's file, an engine that holds it in one piece, and parts that wait for a head."""

    file: Path
    weights: Weights
    whole: RunningEngine
    parts: tuple[RunningPart, ...]


def main() -> bool:
    """Prints a line for each split and link; whether every prediction is within MOST_DEVIATION."""
    file = random_model(CACHE / "models", SHAPE)
    with (
        engine_process(file, *ENGINE, "--setting", "repack=false", quiet=True) as whole,
        running_part() as first,
        running_part() as second,
    ):
        setup = Setup(file, read_weights(file), whole, (first, second))
        ratios = [_compare(setup, layers, seconds) for layers in SPLITS for seconds in ROUND_TRIP_SECONDS]
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    print(f"target: within {MOST_DEVIATION:.0%}, on a machine that does nothing else (load {load})")
    return all(abs(ratio - 1) <= MOST_DEVIATION for ratio in ratios)


def _compare(setup: Setup, layers: Sequence[int], round_trip_seconds: float) -> float:
    """Prints a line; predicted over measured."""
    trip = measured_round_trip(free_port(), free_port(), round_trip_seconds / 2)
    unsplit, measured = _measured(setup, layers, round_trip_seconds)
    speed = setup.weights.weights_bytes / unsplit
    predicted = _predicted(setup.weights, layers, trip, speed)
    print(
        f"{'+'.join(map(str, layers)):>4} of {setup.weights.layers} layers on parts, round trip "
        f"{1000 * trip:4.1f} ms: {1000 * measured:5.1f} ms a token, predicted "
        f"{1000 * predicted:5.1f}, ratio {predicted / measured:.2f}; in one piece {1000 * unsplit:.1f} ms",
        flush=True,
    )
    return predicted / measured


def _measured(setup: Setup, layers: Sequence[int], round_trip_seconds: float) -> tuple[float, float]:
    """Seconds a token in one piece and split, in turn."""
    ports, named = [], []
    for part, count in zip(setup.parts, layers, strict=False):
        near = free_port()
        ports += [(near, part.address.port), (near + 1, part.address.status_port)]
        named.append(f"127.0.0.1:{near}={count}")
    with (
        delayed_link(ports, round_trip_seconds / 2),
        engine_process(setup.file, *ENGINE, "--setting", f"parts={','.join(named)}", quiet=True) as engine,
    ):
        rounds = [
            (_seconds_per_token(setup.whole, number), _seconds_per_token(engine, number))
            for number in range(ROUNDS)
        ]
    return min(unsplit for unsplit, _ in rounds), min(split for _, split in rounds)


def _predicted(weights: Weights, layers: Sequence[int], round_trip_seconds: float, speed: float) -> float:
    model = SplitModel(SHAPE.name, weights, KV_TOKENS, cached_tokens=GENERATED_TOKENS // 2)
    own = weights.layers - sum(layers)
    shares = [Share(SplitNode("box", "box", 0, speed), 0, own, is_head=True)]
    for count in layers:
        node = SplitNode("part", "part", 0, speed, round_trip_seconds, LOOPBACK_BYTES_PER_SECOND)
        first = shares[-1].first_layer + shares[-1].layers
        shares.append(Share(node, first, count, is_head=False))
    return split_seconds(model, shares)


def _seconds_per_token(engine: RunningEngine, number: int) -> float:
    started = time.monotonic()
    prompt = [400 + number, 5, 7]
    reply = engine.complete(prompt, temperature=0, max_tokens=GENERATED_TOKENS, ignore_eos=True)
    assert reply.status == 200, reply.body
    return (time.monotonic() - started) / GENERATED_TOKENS
