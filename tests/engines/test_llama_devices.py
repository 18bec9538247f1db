"""On what llama.cpp computes: what was asked for or nothing at all, never the processor in silence."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engines.llama import llama
from appliance.engines.llama_devices import Device, devices_beside_processor, own_devices
from appliance.engines.llama_settings import check_settings, configure
from appliance.engines.options import EngineOptions, Kind
from appliance.engines.served import ModelUnusable, SettingUnusable
from appliance.hardware.profile import Setting
from tests.conftest import DEMO_MODEL, free_port

CPU = Device(1, "CPU", "AMD Ryzen 9", "CPU", 0)
CARDS = (Device(2, "CUDA0", "NVIDIA RTX A6000", "CUDA", 1), Device(3, "CUDA1", "NVIDIA RTX A6000", "CUDA", 1))
CARD = Device(4, "Vulkan0", "AMD Radeon PRO W7900", "Vulkan", 1)
INTEGRATED = Device(5, "Vulkan1", "AMD Radeon Graphics", "Vulkan", 2)
APPLE = Device(6, "MTL0", "Apple M3", "MTL", 1)
TEXT = Path("model.gguf")


@pytest.mark.parametrize(
    ("asked", "listed", "found"),
    [
        ("CPU", (CARD, CPU), ()),
        ("cuda", (*CARDS, CARD, CPU), CARDS),
        ("vulkan", (*CARDS, INTEGRATED, CARD, CPU), (CARD,)),
        ("vulkan", (INTEGRATED, CPU), (INTEGRATED,)),
        ("metal", (APPLE, CPU), (APPLE,)),
    ],
)
def test_what_was_asked_for_computes(
    asked: str, listed: tuple[Device, ...], found: tuple[Device, ...]
) -> None:
    assert devices_beside_processor(asked, listed) == found


def test_what_is_not_listed_is_refused_and_what_there_is_named() -> None:
    with pytest.raises(ModelUnusable, match="no rocm device here, only Vulkan0, CPU"):
        devices_beside_processor("rocm", (CARD, CPU))


def test_the_processor_of_this_machine_is_listed() -> None:
    assert [device.title.partition(": ")[0] for device in own_devices() if device.type == 0] == ["CPU"]
    assert Device(1, "A", "b\nc" + "d" * 200, "X", 1).title.startswith("A: bcd")
    assert len(Device(1, "A", "d" * 200, "X", 1).title) == 120


@pytest.mark.parametrize(
    ("device", "settings"),
    [
        ("cuda", {"n_gpu_layers": 0}),
        ("CPU", {"n_gpu_layers": -1}),
        ("CPU", {"n_gpu_layers": "all"}),
        ("CPU", {"n_gpu_layers": True}),
        ("CPU", {"repack": 0}),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused(device: str, settings: dict[str, Setting]) -> None:
    with pytest.raises(SettingUnusable, match=next(iter(settings))):
        check_settings(EngineOptions(TEXT, "m", device=device, settings=settings))


def test_the_layers_and_the_devices_reach_llama_cpp() -> None:
    parameters = llama.llama_model_default_params()
    options = EngineOptions(TEXT, "m", device="cuda", settings={"n_gpu_layers": 20, "repack": False})
    configure(options, CARDS, parameters)
    assert (parameters.n_gpu_layers, parameters.use_extra_bufts) == (20, False)
    told = ctypes.cast(parameters.devices, ctypes.POINTER(ctypes.c_void_p))
    assert [told[0], told[1], told[2]] == [2, 3, None]
    configure(EngineOptions(TEXT, "m", device="cuda"), CARDS, parameters)
    assert parameters.n_gpu_layers >= 999 and parameters.use_extra_bufts
    configure(EngineOptions(TEXT, "m", settings={"n_gpu_layers": 20}), (), parameters)
    assert parameters.n_gpu_layers == 0, "the processor computes all of it"
    assert ctypes.cast(parameters.devices, ctypes.POINTER(ctypes.c_void_p))[0] is None


@pytest.mark.parametrize("kind", list(Kind)[:3])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "vulkan"], "llama.cpp finds no vulkan device here"),
        (["--setting", "n_gpu_layer=9"], "no setting 'n_gpu_layer'"),
    ],
)
def test_an_engine_that_cannot_do_as_its_profile_says_does_not_start(
    kind: Kind, arguments: list[str], sentence: str
) -> None:
    command = [sys.executable, "-m", "appliance.engines", "--model", str(DEMO_MODEL), "--name", "m"]
    ended = subprocess.run(
        [*command, "--kind", kind, "--listen", f"127.0.0.1:{free_port()}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1 and sentence in ended.stderr and "Traceback" not in ended.stderr
