"""A process holds one engine's library, and OpenVINO's tells nobody that it is used."""

import subprocess
import sys

import pytest

from tests.conftest import DEMO_MODEL
from tests.engines.serving import ROOT

LOADED = """
import socket, sys
from pathlib import Path

class Forbidden(socket.socket):
    def connect(self, address):
        raise SystemExit(f"it connects to {{address}}")
    connect_ex = connect

socket.socket = Forbidden
socket.create_connection = socket.getaddrinfo = None
from appliance.engines.loading import load
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions
from appliance.hardware.profile import EngineName
engine = load(EngineOptions(Path({model!r}), "m", engine=EngineName({engine!r})), EngineMetrics())
assert engine.endpoints
print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("engine", "needs", "without"),
    [
        ("openvino", "openvino_genai", {"llama_cpp", "appliance.engines.llama"}),
        ("llama.cpp", "llama_cpp", {"openvino", "openvino_genai"}),
    ],
)
def test_loading_imports_the_one_library_and_calls_nobody(engine: str, needs: str, without: set[str]) -> None:
    program = LOADED.format(model=str(DEMO_MODEL), engine=engine)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert needs in modules and not without & modules
    assert not {name for name in modules if name.startswith("openvino_telemetry.")}


def test_the_telemetry_is_hidden_from_whoever_imports_it_later() -> None:
    program = "from appliance.engines.openvino.library import genai\nimport openvino_telemetry"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 and "openvino_telemetry" in done.stderr.splitlines()[-1]
