"""Models and settings that OpenVINO can't use: each is refused with a sentence before anything is served."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from appliance.engines.openvino.devices import DISCRETE_GPU, listed_name
from tests.conftest import DEMO_MODEL, free_port
from tests.engines.contract_engines import NPU_ON_CPU, setting_arguments
from tests.engines.serving import ROOT, engine_process

NPU = ("--device", "NPU", *setting_arguments(NPU_ON_CPU))


def refusal(model: Path, *arguments: str) -> str:
    """What the process says when it ends because the model can't be used."""
    command = [sys.executable, "-m", "appliance.engines", "--engine", "openvino", "--model", str(model)]
    listen = ["--name", "m", "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(
        [*command, *listen, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [said] = [line for line in done.stderr.splitlines() if "CRITICAL" in line]
    return said


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in a folder where its conversion may lie beside it."""
    return Path(shutil.copy(DEMO_MODEL, tmp_path_factory.mktemp("demo")))


@pytest.fixture(scope="module")
def demo_ir(demo: Path) -> Iterator[Path]:
    """The demo model in OpenVINO's own format, made as for an NPU."""
    with engine_process(demo, "--engine", "openvino", *NPU, name="cellule-demo") as engine:
        reply = engine.chat("What is Cellule?", temperature=0)
        assert "box" in reply.text
    [folder] = demo.parent.glob("*-openvino")
    yield folder


def test_no_file_and_no_gguf(tmp_path: Path) -> None:
    assert f"There is no model at {tmp_path / 'none.gguf'}" in refusal(tmp_path / "none.gguf")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK" + bytes(1000))
    assert "is no GGUF file" in refusal(other)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(DEMO_MODEL.read_bytes()[:1_000_000])
    assert "is cut off" in refusal(cut)


def test_a_layer_that_is_not_there_is_told_in_openvinos_words(tmp_path: Path) -> None:
    data = bytearray(DEMO_MODEL.read_bytes())
    at = data.index(b"qwen3.block_count") + len("qwen3.block_count") + 4
    data[at] = 5
    (tmp_path / "lie.gguf").write_bytes(data)
    assert "OpenVINO can't load" in refusal(tmp_path / "lie.gguf")


def test_an_architecture_that_openvino_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    said = refusal(path)
    assert "mamba" in said and "llama, qwen2, qwen3" in said


def test_a_device_that_is_not_there_names_those_that_are(demo: Path) -> None:
    assert "no device NPU here, only CPU" in refusal(demo, "--device", "NPU")
    assert "no device GPU.1 here, only CPU" in refusal(demo, "--device", "GPU.1")
    assert "no device GPU.discrete here, only CPU" in refusal(demo, "--device", "GPU.discrete")


@pytest.mark.parametrize(
    ("wanted", "listed", "name"),
    [
        (DISCRETE_GPU, ("CPU", "GPU.0", "GPU.1", "NPU"), "GPU.1"),
        (DISCRETE_GPU, ("CPU", "GPU.1"), "GPU.1"),
        (DISCRETE_GPU, ("CPU", "GPU.0"), None),
        ("GPU", ("CPU", "GPU.0", "GPU.1"), "GPU"),
        ("GPU.2", ("CPU", "GPU.0", "GPU.1"), None),
    ],
)
def test_beside_an_integrated_graphics_the_card_is_meant(
    wanted: str, listed: tuple[str, ...], name: str | None
) -> None:
    assert listed_name(wanted, listed, lambda device: device == "GPU.1") == name


@pytest.mark.parametrize(
    ("setting", "arguments"),
    [
        ("PERFORMANCE_HNIT=LATENCY", ()),
        ("MAX_PROMPT_LEN=512", ()),
        ("max_num_batched_tokens=64", NPU),
        ("MAX_PROMT_LEN=512", NPU),
    ],
)
def test_a_setting_that_nobody_knows(demo: Path, setting: str, arguments: tuple[str, ...]) -> None:
    said = refusal(demo, *arguments, "--setting", setting)
    assert f"no setting '{setting.partition('=')[0]}'" in said


def test_a_setting_with_a_value_that_openvino_refuses(demo: Path) -> None:
    assert "can't load" in refusal(demo, "--setting", "INFERENCE_NUM_THREADS=many")
    said = refusal(demo, "--setting", "max_num_batched_tokens=many")
    assert "'max_num_batched_tokens' can't be 'many'" in said


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("openvino_model.xml", "not an OpenVINO model"),
        ("openvino_model.bin", "holds no openvino_model.bin"),
        ("openvino_tokenizer.xml", "the model has no tokenizer"),
    ],
)
def test_a_folder_that_is_not_whole(demo_ir: Path, tmp_path: Path, missing: str, sentence: str) -> None:
    folder = Path(shutil.copytree(demo_ir, tmp_path / "part"))
    (folder / missing).unlink()
    assert sentence in refusal(folder)


def test_a_folder_with_a_broken_network(demo_ir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(demo_ir, tmp_path / "broken"))
    network = folder / "openvino_model.xml"
    network.write_text(network.read_text()[:5000])
    assert "OpenVINO can't load" in refusal(folder)


def test_the_conversion_is_made_once_and_answers_on_the_processor_too(demo: Path, demo_ir: Path) -> None:
    made = (demo_ir / "openvino_model.bin").stat().st_mtime_ns
    with engine_process(demo, "--engine", "openvino", *NPU, name="cellule-demo"):
        pass
    assert [demo_ir] == [*demo.parent.glob("*-openvino")] and not [*demo.parent.glob(".making*")]
    assert (demo_ir / "openvino_model.bin").stat().st_mtime_ns == made
    with engine_process(demo_ir, "--engine", "openvino", name="cellule-demo") as engine:
        health = engine.health()
        assert health["demo"] and health["context_tokens"] == 4096 and len(health["sha256"]) == 64
        assert "box" in engine.chat("What is Cellule?").text, "greedy, as the model's file advises"


def test_control_tokens_that_a_caller_writes_stay_text(demo: Path) -> None:
    with engine_process(demo, "--engine", "openvino", name="cellule-demo") as engine:
        one = engine.complete("a<|im_end|>b", max_tokens=1).json()["usage"]["prompt_tokens"]
        assert one > 3, "the end token would be one token"
        echoed = engine.complete("a<|im_end|>b", max_tokens=1, echo=True).text
        assert echoed.startswith("a<|im_end|>b")
