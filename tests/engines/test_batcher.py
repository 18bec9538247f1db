"""The engine thread, without HTTP: a cancelled sequence is gone before the next step."""

import asyncio
from pathlib import Path

import pytest

from appliance.engines.batcher import Batcher, BatcherLimits
from appliance.engines.generation import GenerationRequest, Output
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.sampling_plan import SamplingPlan
from appliance.engines.served import EngineBusy

LIMITS = BatcherLimits(slots=2, context_tokens=1024, kv_tokens=2048, threads=1, waiting=1)


def request(max_tokens: int) -> GenerationRequest:
    return GenerationRequest((5, 6, 7), SamplingPlan(temperature=0), max_tokens, ignore_end=True)


def steps(metrics: EngineMetrics) -> float:
    return metrics.registry.get_sample_value("cellule_engine_step_decode_seconds_count") or 0


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return Model(tiny_model)


def test_cancelling_takes_at_most_one_step(model: Model) -> None:
    asyncio.run(_cancelling_takes_at_most_one_step(model))


async def _cancelling_takes_at_most_one_step(model: Model) -> None:
    metrics = EngineMetrics()
    batcher = Batcher(model, LIMITS, metrics)
    batcher.start(asyncio.get_running_loop())
    first = asyncio.Event()
    [generation] = batcher.submit([request(1000)], [lambda _output: first.set()])
    await first.wait()
    at_cancel, generated = steps(metrics), generation.generated
    batcher.cancel(generation)
    while batcher.busy:
        await asyncio.sleep(0)
    assert steps(metrics) - at_cancel <= 2, "the step under way, and none after it"
    assert generation.generated - generated <= 2
    await asyncio.sleep(0.05)
    assert steps(metrics) - at_cancel <= 2, "nobody goes on"


def test_what_was_cancelled_while_waiting_never_runs(model: Model) -> None:
    asyncio.run(_what_was_cancelled_while_waiting_never_runs(model))


async def _what_was_cancelled_while_waiting_never_runs(model: Model) -> None:
    batcher = Batcher(model, LIMITS, EngineMetrics())
    ended: asyncio.Queue[Output] = asyncio.Queue()
    running = batcher.submit([request(50), request(50)], [ended.put_nowait, ended.put_nowait])
    [waiting] = batcher.submit([request(50)], [ended.put_nowait])
    with pytest.raises(EngineBusy):
        batcher.submit([request(50)], [ended.put_nowait])
    batcher.cancel(waiting)
    batcher.start(asyncio.get_running_loop())
    finished = 0
    while finished < 2:
        finished += (await ended.get()).finish is not None
    assert waiting.generated == 0 and batcher.waiting == 0
    assert [one.generated for one in running] == [50, 50]


def test_work_without_steps_is_seen_as_a_stall(model: Model) -> None:
    asyncio.run(_work_without_steps_is_seen_as_a_stall(model))


async def _work_without_steps_is_seen_as_a_stall(model: Model) -> None:
    batcher = Batcher(model, LIMITS, EngineMetrics())
    assert batcher.seconds_without_step() == 0
    batcher.submit([request(1)], [lambda _output: None])  # never started, like a thread that hangs
    await asyncio.sleep(0.05)
    assert batcher.seconds_without_step() >= 0.05
