"""Measuring a real engine process, and the rule that says when."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest
from sqlite_utils import Database

from appliance.clock import now
from appliance.hardware.profile import EngineName
from appliance.placement import benchmarks, measuring
from appliance.placement.benchmarks import _disturbed, measure_what_is_due
from appliance.placement.contract import ModelFiles
from appliance.placement.due import Decision, Due, Engine, Occasion, due_now
from appliance.placement.measuring import EngineAddress, MadeWay, NotMeasured, measure_engine
from appliance.placement.planning import plan
from appliance.placement.store import last_failures, read_measures
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, random_model
from tests.placement.fleets import cpu, model, node
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
NIGHT, DAY = 2, 14
READY = Engine("n", "m", "d", EngineName.LLAMA_CPP, "CPU", versions="1")
MEASURED = replace(READY, measured_at=0.0, measured_versions="1")


def decided(engine: Engine, at: float = 100_000.0, hour: int = DAY) -> Decision:
    return due_now([engine], at, hour)


def test_it_is_measured_when_it_is_new_changed_or_at_night() -> None:
    assert decided(READY).due == Due(READY, Occasion.FIRST)
    changed = replace(MEASURED, versions="2")
    assert decided(changed).due == Due(changed, Occasion.CHANGED)
    assert decided(MEASURED).due is None
    assert decided(MEASURED, hour=NIGHT).due == Due(MEASURED, Occasion.NIGHTLY)
    assert decided(replace(MEASURED, measured_at=90_000.0), hour=NIGHT).due is None, "once a night"


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (replace(READY, ready=False), "not ready"),
        (replace(READY, somebody_works=True), "somebody works"),
        (replace(READY, in_flight=1), "giving 1 answers"),
        (replace(READY, waiting=2), "2 requests wait"),
        (replace(READY, made_way_at=99_990.0), "made way for somebody 10 s ago"),
        (replace(READY, last_asked_at=99_995.0), "asked 5 s ago"),
        (replace(READY, failed_at=99_800.0, failures=1), "again 10 minutes after"),
        (replace(READY, failed_at=99_000.0, failures=2), "again 20 minutes after"),
    ],
)
def test_never_while_somebody_works_and_after_a_failure_later_each_time(engine: Engine, said: str) -> None:
    decision = decided(engine)
    assert decision.due is None and said in decision.kept[0][1]


def test_at_night_only_after_it_was_idle_for_a_while() -> None:
    assert decided(replace(MEASURED, last_asked_at=99_000.0), hour=NIGHT).due is None
    assert decided(replace(MEASURED, last_asked_at=98_000.0), hour=NIGHT).due is not None


def test_one_at_a_time_the_new_ones_first() -> None:
    new = replace(READY, node="z")
    assert due_now([MEASURED, new], 100_000, NIGHT).due == Due(new, Occasion.FIRST)


@pytest.fixture(scope="module")
def engine_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real engine with a random model on a box's socket."""
    state_dir = Path(tempfile.mkdtemp(prefix="m"))
    (state_dir / "run").mkdir()
    settings = Settings(state_dir=state_dir)
    file = random_model(tmp_path_factory.mktemp("models"), TINY)
    socket = settings.engine_socket("tiny")
    command = [sys.executable, "-m", "appliance.engines", "--model", str(file), "--name", "tiny"]
    with (state_dir / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--listen", f"unix:{socket}", "--slots", "4", "--threads", "1"],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(lambda: health(settings)["ready"], within_seconds=60, what="the engine is ready")
        yield settings
    finally:
        process.terminate()
        process.wait(15)


def health(settings: Settings) -> dict[str, object]:
    transport = httpx.HTTPTransport(uds=str(settings.engine_socket("tiny")))
    try:
        with httpx.Client(transport=transport) as direct:
            answer: dict[str, object] = direct.get("http://engine/health/ready").json()
    except httpx.TransportError as error:
        raise OSError(str(error)) from error
    return answer


def report(activity: Database, node: str, document: Mapping[str, object]) -> None:
    activity.table("node_reports").upsert(
        {"node": node, "at": now(), "report": orjson.dumps(document).decode()}, pk="node"
    )


def test_a_real_engine_is_measured_alone_and_together(engine_settings: Settings) -> None:
    address = EngineAddress(socket_path=engine_settings.engine_socket("tiny"))
    speed = measure_engine(address, "tiny", 4)
    assert min(speed.prompt, speed.alone, speed.together) > 0
    assert speed.at_once == 4 and 0 < speed.seconds <= 60


def test_whoever_comes_ends_it_and_so_does_its_limit(engine_settings: Settings) -> None:
    address = EngineAddress(socket_path=engine_settings.engine_socket("tiny"))
    with pytest.raises(NotMeasured, match="somebody works"):
        measure_engine(address, "tiny", 2, disturbed=lambda: "somebody works at the machine")
    with pytest.raises(NotMeasured, match="longer than it may"):
        measure_engine(address, "tiny", 2, limit_seconds=0)
    with pytest.raises(NotMeasured, match="did not answer as it should"):
        measure_engine(EngineAddress(socket_path=Path("/nowhere")), "tiny", 1)
    with pytest.raises(NotMeasured, match="status 404"):
        measure_engine(address, "another", 1)


def ask_for_long(settings: Settings) -> int:
    """An employee's request that the engine answers for a while; the status."""
    transport = httpx.HTTPTransport(uds=str(settings.engine_socket("tiny")))
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 3500, "ignore_eos": True}
    with httpx.Client(transport=transport, timeout=60) as direct:
        return direct.post("http://engine/v1/completions", json=body).status_code


def is_busy(settings: Settings, number: int) -> bool:
    return health(settings)["busy"] == number


def test_a_benchmark_makes_way_for_a_request_in_the_middle_of_its_own(
    engine_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "ANSWER_TOKENS", 3500)
    address = EngineAddress(socket_path=engine_settings.engine_socket("tiny"))
    with ThreadPoolExecutor(2) as threads:
        measured = threads.submit(measure_engine, address, "tiny", 1)
        wait_until(lambda: is_busy(engine_settings, 1), within_seconds=10, what="it has begun")
        asked = threads.submit(ask_for_long, engine_settings)
        with pytest.raises(MadeWay, match="a request came to the engine"):
            measured.result(30)
        assert asked.result(30) == 200, "nobody's answer was broken off"
    wait_until(lambda: is_busy(engine_settings, 0), within_seconds=5, what="nothing of it is left")


def test_a_benchmark_that_made_way_is_not_kept_as_failed_and_comes_again(engine_settings: Settings) -> None:
    said = health(engine_settings)
    tiny = replace(model("tiny", 0.001), files=(ModelFiles(str(said["sha256"]), "gguf:Q8_0", 1_000_000),))
    with (
        open_cellule(engine_settings.state_dir) as cellule,
        open_activity(engine_settings.state_dir) as activity,
        ThreadPoolExecutor(1) as threads,
    ):
        report(activity, "box", {"name": "box", "engines": [said | {"port": 0}], "load": {}})
        asked = threads.submit(ask_for_long, engine_settings)
        wait_until(lambda: is_busy(engine_settings, 1), within_seconds=10, what="somebody asks")
        told = measure_what_is_due(engine_settings, cellule, activity, [], [tiny])
        assert "The benchmark made way: a request came to the engine" in told
        assert read_measures(activity) == () and last_failures(activity) == {}
        asked.result(30)
        assert measure_what_is_due(engine_settings, cellule, activity, [], [tiny]) == "", "for some minutes"
        benchmarks._MADE_WAY_AT.clear()
        assert "measured tiny" in measure_what_is_due(engine_settings, cellule, activity, [], [tiny])
        activity.execute("DELETE FROM node_reports")
        activity.execute("DELETE FROM engine_speeds")


def test_what_the_pool_sends_ends_a_benchmark_too(engine_settings: Settings) -> None:
    address = EngineAddress(socket_path=engine_settings.engine_socket("tiny"))
    with open_activity(engine_settings.state_dir) as activity:
        report(activity, "box", {"name": "box", "engines": [], "load": {}})
        report(activity, "pool", {"in_flight": {"box": 0, "other": 3}})
        assert measure_engine(address, "tiny", 2, disturbed=lambda: _disturbed(activity, "box", now())).alone
        report(activity, "pool", {"in_flight": {"box": 1}})
        with pytest.raises(MadeWay, match="a request came to the node"):
            measure_engine(address, "tiny", 2, disturbed=lambda: _disturbed(activity, "box", now()))
        activity.execute("DELETE FROM node_reports")


def test_the_job_measures_what_is_due_and_keeps_it_with_the_prediction(engine_settings: Settings) -> None:
    said = health(engine_settings)
    tiny = replace(model("tiny", 0.001), files=(ModelFiles(str(said["sha256"]), "gguf:Q8_0", 1_000_000),))
    box = node("box", replace(cpu(), formats=("gguf:Q8_0",)))
    with (
        open_cellule(engine_settings.state_dir) as cellule,
        open_activity(engine_settings.state_dir) as activity,
    ):
        document = {"name": "box", "engines": [said | {"port": 0}], "load": {}}
        report(activity, "box", document)
        told = measure_what_is_due(engine_settings, cellule, activity, [box], [tiny])
        assert told.startswith("measured tiny on box (first)")
        (kept,) = read_measures(activity)
        assert kept.alone > 0 and kept.predicted_alone > 0 and kept.profile == "cpu-x86-avx2"
        assert measure_what_is_due(engine_settings, cellule, activity, [box], [tiny]) == ""
        # a fresh box has nothing but the demo: it is measured, and predicts nothing of larger models
        activity.execute("DELETE FROM engine_speeds")
        demo = replace(tiny, is_demo=True)
        told = measure_what_is_due(engine_settings, cellule, activity, [box], [demo])
        assert told.startswith("measured tiny on box (first)")
        (kept,) = read_measures(activity)
        assert kept.alone > 0 and kept.predicted_alone == 0
        large = plan([box], [replace(model("large", 4), files=(ModelFiles("l", "gguf:Q8_0", 1 << 31),))])
        known = plan([box], [replace(model("large", 4), files=(ModelFiles("l", "gguf:Q8_0", 1 << 31),))],
                     measures=[kept])  # fmt: skip
        assert known.placed[0].speed == large.placed[0].speed
        # one that is given up is kept as tried
        activity.execute("DELETE FROM engine_speeds")
        told = measure_what_is_due(engine_settings, cellule, activity, [box], [tiny], limit_seconds=0)
        assert "longer than it may" in told
        assert read_measures(activity) == () and [
            failures for _, failures in last_failures(activity).values()
        ] == [1]
