"""Models on the nodes are asked whether they are well: by the real job, of a real engine on its socket."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.hardware import (
    HealthRecord,
    forget_nodes,
    keep_health,
    known_health,
    known_machines,
    own_hardware,
)
from appliance.hardware.health import judge_health
from appliance.hardware.places import SHIPPED
from appliance.hardware.report import ChosenProfile
from appliance.jobs.health import check_health, recognise_box
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, random_model
from tests.conftest import DEMO_MODEL
from tests.waiting import wait_until


@pytest.fixture
def profile() -> ChosenProfile:
    chosen = own_hardware([SHIPPED]).chosen
    assert chosen
    return chosen


def start_engine(settings: Settings, model: Path, name: str) -> subprocess.Popen[bytes]:
    socket = settings.engine_socket(name)
    engine = [sys.executable, "-m", "appliance.engines", "--model", str(model), "--name", name]
    return subprocess.Popen(
        [*engine, "--listen", f"unix:{socket}", "--slots", "2", "--context-tokens", "512"]
    )


def test_a_good_model_is_well_and_one_of_random_weights_is_not(settings: Settings, tmp_path: Path) -> None:
    with open_cellule(settings.state_dir), open_activity(settings.state_dir):
        pass
    assert "the box is: " in recognise_box(settings)
    running = [
        start_engine(settings, DEMO_MODEL, "cellule-demo"),
        start_engine(settings, random_model(tmp_path, TINY), "noise"),
    ]
    try:
        said: list[str] = []

        def both_asked() -> bool:
            said.append(check_health(settings))
            with open_activity(settings.state_dir) as activity:
                return len(known_health(activity)) == 2

        wait_until(both_asked, within_seconds=60, what="both models were asked")
        assert check_health(settings) == ""  # nothing is due
    finally:
        for process in running:
            process.terminate()
            process.wait(10)
    with open_activity(settings.state_dir) as activity:
        health = known_health(activity)
        assert known_machines(activity)[BOX_NODE].processor.flags
    assert health[BOX_NODE, "cellule-demo"].ok
    noise = health[BOX_NODE, "noise"]
    assert not noise.ok and "colour" in noise.sentence
    assert any("noise on box is not well" in sentence for sentence in said)


def test_what_counts_as_well(profile: ChosenProfile) -> None:
    assert judge_health(profile, "<think>The sky…</think> Blue.", 3).ok
    assert not judge_health(profile, "Blue", profile.health_limit_seconds + 1).ok
    assert not judge_health(profile, "Green", 1).ok
    assert judge_health(profile, " …", 1).sentence == "The answer was empty."


def test_what_is_kept_of_a_node_is_forgotten_with_it(settings: Settings) -> None:
    with open_activity(settings.state_dir) as activity:
        for node in (BOX_NODE, "gone"):
            keep_health(activity, HealthRecord(node, "m", now(), True, 1.0, "well"))
        forget_nodes(activity, {BOX_NODE})
        assert {node for node, _ in known_health(activity)} == {BOX_NODE}
