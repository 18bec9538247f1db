"""The speed of an engine is measured on a real process, and one that can't serve the model is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engines.measuring import EngineNotMeasured, MeasuredSpeed, measure_speed
from appliance.hardware.profile import EngineName
from tests.conftest import DEMO_MODEL
from tests.engines.serving import ROOT


def test_both_engines_are_measured_and_the_faster_comes_first() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.engines.measuring", "--model", str(DEMO_MODEL), "--together", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    speeds = [MeasuredSpeed.model_validate(one) for one in json.loads(done.stdout)]
    assert {speed.engine for speed in speeds} == {EngineName.LLAMA_CPP, EngineName.OPENVINO}
    assert speeds[0].tokens_per_second_together >= speeds[1].tokens_per_second_together
    for speed in speeds:
        assert speed.model == DEMO_MODEL.name and speed.together == 4 and speed.load_seconds > 0
        assert min(speed.prompt_tokens_per_second, speed.tokens_per_second_alone) > 1


def test_an_engine_that_can_not_serve_the_model_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(DEMO_MODEL.read_bytes()[:1000])
    with pytest.raises(EngineNotMeasured, match="cut off"):
        measure_speed(broken, EngineName.OPENVINO)
