"""Converting: what is refused beforehand, what is told meanwhile, and that nothing half-made stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.models.conversion_progress import Progress, Step, after_line, at
from appliance.models.conversion_source import NotConvertible, Weights, kind_of, read_source
from appliance.models.conversion_state import ConversionState
from appliance.models.converting import (
    Conversion,
    ConversionFailed,
    ConversionTooLarge,
    NoConverter,
    NotEnoughRoom,
    OutTaken,
    check,
    convert,
    require_memory,
)
from tests.models.tiny import ROOT, converter, tiny_source
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)  # the first run sets up the converter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny embedder that a test may damage."""
    return Path(shutil.copytree(tiny_source(Kind.EMBEDDINGS), tmp_path / "source"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "is no folder"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "no valid JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "x.bin"), "could run code"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "not complete"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 99), "not complete"),
        (
            lambda folder: (folder / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}'),
            "its own program code",
        ),
        (lambda folder: (folder / "config.json").write_text('{"architectures": ["Odd"]}'), "Odd"),
    ],
)
def test_a_folder_that_cannot_be_converted_is_refused(
    source: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(source)
    with pytest.raises(NotConvertible) as raised:
        read_source(source)
    assert sentence in str(raised.value)


def test_each_kind_is_known_by_its_architecture() -> None:
    for kind in (Kind.EMBEDDINGS, Kind.RERANK, Kind.TRANSCRIPTION, Kind.IMAGES):
        found = read_source(tiny_source(kind))
        assert found.kind is kind and 0 < 2 * found.weights <= found.bytes
    assert kind_of({"architectures": ["Qwen3ForCausalLM"]}, has_modules=False) is Kind.TEXT
    assert kind_of({"architectures": ["Qwen3ForCausalLM"]}, has_modules=True) is Kind.EMBEDDINGS


def test_without_converter_memory_or_disk_nothing_is_started(source: Path, tmp_path: Path) -> None:
    found = read_source(source)
    job = Conversion(source, tmp_path / "out", Weights.INT8, Path(sys.executable))
    check(found, job, 10**12, 10**12)
    with pytest.raises(NoConverter):
        check(found, replace(job, python=tmp_path / "none"), 10**12, 10**12)
    with pytest.raises(NotEnoughRoom, match="GB of memory"):
        check(found, job, 10**9, 10**12)
    with pytest.raises(NotEnoughRoom, match="room on the disk"):
        check(found, job, 10**12, 10**7)
    job.out.mkdir()
    (job.out / "kept").touch()
    with pytest.raises(OutTaken):
        check(found, job, 10**12, 10**12)


def test_memory_that_the_machine_has_is_waited_for_and_more_is_refused() -> None:
    require_memory(10**9, 3_200_000_000)
    with pytest.raises(ConversionTooLarge, match=r"needs 3\.2 GB of memory.* has 3 GB in all"):
        require_memory(10**9, 3 * 10**9)


def test_the_converters_lines_become_steps_that_never_go_back() -> None:
    lines = [
        "Multiple distributions found for package optimum.",
        "Loading weights:  50%|█████     | 19/39",
        "Loading weights: 100%|██████████| 39/39",
        "masking_utils.py:192: TracerWarning: Converting a tensor to a Python boolean",
        "Loading weights:   0%|          | 0/39",
        "INFO:nncf:Statistics of the bitwidth distribution:",
        "Applying Weight Compression ━━━━━━━━━━━ 40% • 0:00:02 • 0:00:03",
        "Applying Weight Compression ━━━━━━━━━━━ 100% • 0:00:05 • 0:00:00",
    ]
    told = [at(Step.STARTING)]
    for line in lines:
        told.append(after_line(told[-1], line))
    steps = [progress.step for progress in told]
    assert steps == [
        Step.STARTING, Step.STARTING, Step.READING, Step.READING, Step.TRACING, Step.TRACING,
        Step.COMPRESSING, Step.COMPRESSING, Step.COMPRESSING,
    ]  # fmt: skip
    percents = [progress.percent for progress in told]
    assert percents == sorted(percents) and percents[-1] == 90


def test_the_command_converts_and_tells_how_far_it_is(source: Path, tmp_path: Path) -> None:
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    out, state = tmp_path / "new" / "model", tmp_path / "state.json"
    command = [ROOT / "build.sh", "convert", source, out, "--weights", "fp16", "--state", state]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The model's weights are being read." in done.stdout and "100 %" in done.stdout
    assert (out / "openvino_model.xml").is_file() and (out / "1_Pooling" / "config.json").is_file()
    found = ConversionState.model_validate_json(state.read_text())
    assert (found.step, found.percent) == (Step.DONE, 100)
    assert sorted(path.name for path in out.parent.iterdir()) == ["model"]


def test_stopping_it_leaves_nothing(source: Path, tmp_path: Path) -> None:
    out, state = tmp_path / "new" / "model", tmp_path / "state.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.models.convert", source, out, "--state", state],
        cwd=ROOT,
        env=os.environ | {"CELLULE_CONVERTER": str(converter()), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    wait_until(state.exists, within_seconds=60, what="the conversion has begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert ConversionState.model_validate_json(state.read_text()).step is Step.CANCELLED
    assert not list(out.parent.iterdir())


def test_a_converter_that_fails_says_why_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text()) | {"model_type": "of-tomorrow"}
    (source / "config.json").write_text(json.dumps(config))
    told: list[Progress] = []
    job = Conversion(source, tmp_path / "new" / "model", Weights.INT8, converter())
    with pytest.raises(ConversionFailed, match="of-tomorrow"):
        convert(job, told.append, lambda: None)
    assert not list(job.out.parent.iterdir())
    assert told[-1].step is not Step.DONE


def test_what_does_not_load_is_not_moved_into_place(source: Path, tmp_path: Path) -> None:
    """A converter that claims success and wrote no model, as one of another version might."""
    liar = tmp_path / "liar"
    liar.write_text(
        '#!/bin/sh\nfor last; do :; done\nmkdir -p "$last"; echo "<xml/>" >"$last/openvino_model.xml"\n'
    )
    liar.chmod(0o755)
    job = Conversion(source, tmp_path / "new" / "model", Weights.INT8, liar)
    with pytest.raises(ConversionFailed, match=r"openvino_model\.bin"):
        convert(job, lambda _progress: None, lambda: None)
    assert not list(job.out.parent.iterdir())


def test_what_ends_it_is_asked_from_the_first_step_on(source: Path, tmp_path: Path) -> None:
    class Unwanted(Exception):
        pass

    def go_on() -> None:
        raise Unwanted

    job = Conversion(source, tmp_path / "model", Weights.INT8, converter())
    with pytest.raises(Unwanted):
        convert(job, lambda _progress: None, go_on)
    assert not job.out.exists()
