"""Measuring a real engine process, and the rule that says when."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest

from appliance.clock import now
from appliance.hardware.profile import EngineName
from appliance.placement.benchmarks import measure_what_is_due
from appliance.placement.contract import ModelFiles
from appliance.placement.due import Decision, Due, Engine, Occasion, due_now
from appliance.placement.measuring import EngineAddress, NotMeasured, measure_engine
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


def test_the_job_measures_what_is_due_and_keeps_it_with_the_prediction(engine_settings: Settings) -> None:
    said = health(engine_settings)
    tiny = replace(model("tiny", 0.001), files=(ModelFiles(str(said["sha256"]), "gguf:Q8_0", 1_000_000),))
    box = node("box", replace(cpu(), formats=("gguf:Q8_0",)))
    with (
        open_cellule(engine_settings.state_dir) as cellule,
        open_activity(engine_settings.state_dir) as activity,
    ):
        document = {"name": "box", "engines": [said | {"port": 0}], "load": {}}
        activity.execute(
            "INSERT INTO node_reports VALUES ('box', ?, ?)", [now(), orjson.dumps(document).decode()]
        )
        told = measure_what_is_due(engine_settings, cellule, activity, [box], [tiny])
        assert told.startswith("measured tiny on box (first)")
        (kept,) = read_measures(activity)
        assert kept.alone > 0 and kept.predicted_alone > 0 and kept.profile == "cpu-x86-avx2"
        assert measure_what_is_due(engine_settings, cellule, activity, [box], [tiny]) == ""
        # a demo model's speed is of no use to anybody
        demo = {"name": "box", "engines": [said | {"port": 0, "demo": True}], "load": {}}
        activity.execute("DELETE FROM engine_speeds")
        activity.execute("UPDATE node_reports SET report = ?", [orjson.dumps(demo).decode()])
        assert measure_what_is_due(engine_settings, cellule, activity, [box], [tiny]) == ""
        activity.execute("UPDATE node_reports SET report = ?", [orjson.dumps(document).decode()])
        # one that is given up is kept as tried
        told = measure_what_is_due(engine_settings, cellule, activity, [box], [tiny], limit_seconds=0)
        assert "longer than it may" in told
        assert read_measures(activity) == () and [
            failures for _, failures in last_failures(activity).values()
        ] == [1]
