"""One GGUF and two engines that could serve it: tried at night, measured, and the faster one has it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from appliance.hardware.profile import EngineName
from appliance.models.demo import DEMO_MODEL_PATH
from appliance.models.openvino_gguf import openvino_reads
from appliance.models.reading import read_facts
from appliance.placement import Applying, choose_placement, current_plan
from appliance.placement.contract import Measured, ModelFiles, Placed, Running, Trial, Wishes
from appliance.placement.history import History
from appliance.placement.measuring import EngineAddress, measure_engine
from appliance.placement.memory import GIB
from appliance.placement.options import Known
from appliance.placement.planning import plan
from appliance.placement.store import record_measure
from appliance.placement.trials import trials_of_night
from appliance.storage import open_activity, open_cellule
from tests.engines.serving import engine_process
from tests.placement.fleets import LLAMA, OPENVINO, as_running, cpu, demand, measured, model, node
from tests.placement.test_store import BOX, PROFILES, report

LLAMA_CPP, BY_OPENVINO = cpu(engine=LLAMA), cpu(engine=OPENVINO)
PC = node("pc", LLAMA_CPP, BY_OPENVINO)
FILE = ModelFiles("small-gguf", "gguf:Q4_K_M", 2_400_000_000, openvino_reads=True)
SMALL = replace(model("small", 4), files=(FILE,))
BENCHMARK = measured(PC, SMALL, 20, way=LLAMA_CPP)
TRIAL = Trial("pc", "small-gguf", OPENVINO, "CPU")
NIGHT, DAY = 2, 14


def by_openvino(alone: float) -> Measured:
    return measured(PC, SMALL, alone, way=BY_OPENVINO, digest="small-gguf")


def placed(
    measures: Sequence[Measured] = (), running: Sequence[Running] = (), trials: Sequence[Trial] = ()
) -> Placed:
    [found] = plan(
        [PC], [SMALL], demand=[demand("small", 1)], measures=measures, running=running, trials=trials
    ).on("pc")
    return found


def trials(
    running: Running, *measures: Measured, hour: int = NIGHT, failed: Sequence[Trial] = ()
) -> tuple[Trial, ...]:
    known = Known(History(measures), Wishes(), [running])
    return trials_of_night([PC], [SMALL], known, local_hour=hour, failed=failed)


IDLE = as_running(placed(), idle_seconds=3600.0)


def test_a_gguf_is_llama_cpps_until_openvino_was_measured_to_be_faster() -> None:
    assert placed().way == LLAMA_CPP
    assert placed([BENCHMARK]).way == LLAMA_CPP
    assert placed([BENCHMARK, by_openvino(12)]).way == LLAMA_CPP
    faster = placed([BENCHMARK, by_openvino(40)])
    assert faster.way == BY_OPENVINO
    assert "Measured here, openvino on CPU gives " in faster.because
    assert "tokens/s with prompts, and llama.cpp on CPU gives " in faster.because


def test_openvino_keeps_a_gguf_only_while_it_is_the_faster() -> None:
    runs = as_running(placed([BENCHMARK, by_openvino(40)]), in_flight=1, idle_seconds=0.0)
    assert placed([BENCHMARK, by_openvino(21)], [runs]).way == BY_OPENVINO
    assert placed([BENCHMARK, by_openvino(19)], [runs]).way == LLAMA_CPP
    assert placed([BENCHMARK], [runs]).way == LLAMA_CPP
    other = as_running(placed([BENCHMARK]), idle_seconds=0.0)
    assert placed([BENCHMARK, by_openvino(21)], [other]).way == LLAMA_CPP, "no engine takes turns"


def test_what_openvino_makes_of_a_gguf_is_counted_in_memory() -> None:
    [found] = plan([PC], [SMALL], measures=[BENCHMARK, by_openvino(40)]).on("pc")
    assert found.weights_bytes == 2 * FILE.weights_bytes
    tight = node("pc", cpu(4, engine=LLAMA), cpu(4, engine=OPENVINO))
    [found] = plan([tight], [SMALL], measures=[BENCHMARK, by_openvino(40)]).on("pc")
    assert found.way.engine is LLAMA and found.memory_bytes <= 4 * GIB


def test_a_night_goes_from_one_engine_to_the_other_and_to_the_faster() -> None:
    assert trials(IDLE) == (), "first what runs"
    assert trials(IDLE, BENCHMARK) == (TRIAL,)
    tried = placed([BENCHMARK], [IDLE], [TRIAL])
    assert tried.way == BY_OPENVINO and "is tried tonight to be measured" in tried.because
    runs = as_running(tried, idle_seconds=5.0)
    assert trials(runs, BENCHMARK) == (TRIAL,)
    assert placed([BENCHMARK], [runs], [TRIAL]).way == BY_OPENVINO
    benchmarked = replace(runs, in_flight=4, idle_seconds=0.0)
    assert trials(benchmarked, BENCHMARK) == (TRIAL,)
    assert placed([BENCHMARK], [benchmarked], [TRIAL]).way == BY_OPENVINO
    slow, fast = (BENCHMARK, by_openvino(15)), (BENCHMARK, by_openvino(40))
    assert trials(runs, *slow) == trials(runs, *fast) == ()
    assert placed(slow, [runs]).way == LLAMA_CPP
    assert placed(fast, [runs]).way == BY_OPENVINO
    assert placed([BENCHMARK], [runs]).way == LLAMA_CPP, "the night is over, and nothing was measured"


def test_nothing_is_tried_by_day_in_use_or_in_vain() -> None:
    assert trials(IDLE, BENCHMARK, hour=DAY) == ()
    assert trials(replace(IDLE, idle_seconds=60.0), BENCHMARK) == ()
    assert trials(replace(IDLE, in_flight=1), BENCHMARK) == ()
    assert trials(IDLE, BENCHMARK, failed=[TRIAL]) == ()
    slow = node("pc", LLAMA_CPP, cpu(engine=OPENVINO, gb_per_second=2))
    known = Known(History([BENCHMARK]), Wishes(), [IDLE])
    assert trials_of_night([slow], [SMALL], known, local_hour=NIGHT) == (), "it can't win"


def test_the_boxs_plan_tries_at_night_where_it_may(tmp_path: Path) -> None:
    cellule, activity = open_cellule(tmp_path), open_activity(tmp_path)
    night = datetime(2026, 3, 3, NIGHT).timestamp()
    digest = "5" * 64
    need = replace(SMALL, files=(replace(FILE, digest=digest),))
    record_measure(activity, replace(BENCHMARK, node="box", digest=digest))

    def engine_at(at: float, applying: Applying) -> EngineName:
        report(activity, "box", at - 2, sha256=digest)
        choose_placement(cellule, applying=applying, chosen_by=None)
        current = current_plan(cellule, activity, [need], PROFILES, BOX, at=at)
        [found] = current.plan.on("box")
        return found.way.engine

    assert engine_at(night - 12 * 3600, Applying.AUTOMATICALLY) is LLAMA
    assert engine_at(night, Applying.AUTOMATICALLY) is OPENVINO
    assert engine_at(night, Applying.ASK) is LLAMA
    for _ in range(3):
        failed = replace(BENCHMARK, node="box", digest=digest, engine=OPENVINO, at=night - 3 * 24 * 3600)
        record_measure(activity, failed, "the engine did not answer as it should")
    assert engine_at(night, Applying.AUTOMATICALLY) is LLAMA


def test_what_openvino_can_load_is_told_from_the_file(tmp_path: Path) -> None:
    facts = read_facts({"demo.gguf": DEMO_MODEL_PATH})
    assert openvino_reads(facts, files=1)
    for other in (
        {"architecture": "gemma3"},
        {"quantisation": "Q6_K"},
        {"has_plain_positions": False},
        {"sliding_window": 512},
    ):
        assert not openvino_reads(facts.model_copy(update=other), files=1), other
    assert not openvino_reads(facts, files=2)


@pytest.mark.timeout(120)
def test_the_demo_by_both_engines_goes_to_the_faster(tmp_path: Path) -> None:
    """Both are real and measured as every engine is; whichever is faster on this machine has the model."""
    shutil.copy(DEMO_MODEL_PATH, tmp_path / "demo.gguf")
    measures: list[Measured] = []
    for way in (LLAMA_CPP, BY_OPENVINO):
        options = ("--engine", way.engine.value, "--slots", "4", "--context-tokens", "1024", "--threads", "1")
        with engine_process(tmp_path / "demo.gguf", *options) as engine:
            speed = measure_engine(EngineAddress(host="127.0.0.1", port=engine.port), engine.model, 4)
        kept = by_openvino(0) if way is BY_OPENVINO else BENCHMARK
        measures.append(
            replace(kept, prompt=speed.prompt, alone=speed.alone, together=speed.together, at_once=4)
        )
    worths = [1 / (1 / each.together + 2 / each.prompt) for each in measures]
    found = placed(measures)
    assert found.way == (LLAMA_CPP if worths[0] >= worths[1] else BY_OPENVINO), worths
    assert f"{max(worths):.1f} tokens/s" in found.because and f"{min(worths):.1f}" in found.because
