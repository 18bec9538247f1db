"""A folder of safetensors becomes an OpenVINO model: in the background, cancellable, whole or not at all.

The converter is optimum-intel, in a Python environment of its own (`./build.sh converter`), as a process of
low priority without a network. It writes into a folder beside the wanted one; that is moved into place once
the product's own engine has loaded it and made an answer. Whatever happens before, nothing is left.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import psutil

from appliance.errors import Broken, Refused, TryAgain
from appliance.models.conversion_progress import Progress, Step, after_line, at
from appliance.models.conversion_source import TASKS, Source, Weights, conversion_memory_bytes, read_source
from appliance.models.memory import told_bytes
from appliance.models.reading import format_of, must_convert

_COPIED = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
"""What sentence-transformers say of pooling and length; the converter leaves it behind."""
_FOR_NPU = ("--weight-format", "int4", "--sym", "--ratio", "1.0", "--group-size")
_COMPRESSION = {
    Weights.FP16: ("--weight-format", "fp16"),
    Weights.INT8: ("--weight-format", "int8"),
    Weights.INT4: ("--weight-format", "int4"),
    Weights.INT4_CHANNEL_WISE: (*_FOR_NPU, "-1"),
    Weights.INT4_GROUPS: (*_FOR_NPU, "128"),
}
"""As optimum-cli is told."""
_NICENESS = 10
_LAST_LINES = 12
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.2


class NoConverter(Refused):
    code: ClassVar[str] = "no_converter"


class OutTaken(Refused):
    code: ClassVar[str] = "folder_taken"


class ConversionTooLarge(Refused):
    """It needs more memory than this machine has, whatever else ends here."""

    code: ClassVar[str] = "conversion_larger_than_memory"


class NotEnoughRoom(TryAgain):
    code: ClassVar[str] = "not_enough_room"
    http_status: ClassVar[int] = 503


class ConversionFailed(Broken):
    code: ClassVar[str] = "conversion_failed"


_PRODUCT = {"PYTHONPATH": str(Path(__file__).parents[2])}
Tell = Callable[[Progress], None]
GoOn = Callable[[], None]
"""Asked several times a second; raises what ends the work."""


@dataclass(frozen=True)
class Conversion:
    """What is to be done. `python` is the converter environment's interpreter."""

    source: Path
    out: Path
    weights: Weights
    python: Path


def convert(job: Conversion, tell: Tell, go_on: GoOn) -> Source:
    """Runs the whole conversion; minutes to hours. `tell` is called in this thread, percent never falling.

    Raises NotConvertible, ConversionTooLarge, NoConverter, OutTaken, NotEnoughRoom before anything is begun;
    ConversionFailed, and what `go_on` raises, after everything was cleared away.
    """
    source = read_source(job.source)
    require_memory(source.bytes, psutil.virtual_memory().total)
    check(source, job, psutil.virtual_memory().available, shutil.disk_usage(_existing(job.out)).free)
    job.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=job.out.parent) as work:
        made = Path(work) / "model"
        tell(at(Step.STARTING))
        environment = _environment(Path(work))
        _run(_command(job, source, made), environment, tell, go_on, at(Step.STARTING))
        _copy_what_is_left_behind(job.source, made)
        tell(at(Step.VERIFYING))
        trying = [sys.executable, "-m", "appliance.models.trying", str(made), source.kind.value]
        _run(trying, environment | _PRODUCT, tell, go_on, at(Step.VERIFYING))
        _move(made, job.out)
    tell(at(Step.DONE))
    return source


def check(source: Source, job: Conversion, free_memory_bytes: int, free_disk_bytes: int) -> None:
    """Whether all that it takes is free now. Raises NoConverter, OutTaken, NotEnoughRoom."""
    require_converter(job.python)
    if job.out.exists() and (not job.out.is_dir() or any(job.out.iterdir())):
        raise OutTaken(f"{job.out} exists already.", next_step="Name a new folder, or remove it first.")
    for what, needed, free in (
        ("memory", source.memory_needed_bytes(), free_memory_bytes),
        ("room on the disk", source.disk_needed_bytes(job.weights), free_disk_bytes),
    ):
        if needed > free:
            raise NotEnoughRoom(
                f"The conversion needs {needed / 1e9:.1f} GB of {what}; {free / 1e9:.1f} GB are free.",
                retry_after_seconds=600,
                next_step="Free some, or convert on a larger machine.",
            )


def require_converter(python: Path | None) -> Path:
    """Raises NoConverter unless it can be started."""
    if python is None or not (python.is_file() and os.access(python, os.X_OK)):
        raise NoConverter(
            "The program that converts models is not on this machine.",
            next_step="Convert the model on another computer (./build.sh convert), and bring what it makes.",
        )
    return python


def require_memory(source_bytes: int, machine_bytes: int) -> None:
    """Raises ConversionTooLarge where safetensors of that size can't be converted here at any time. Pure."""
    needed = conversion_memory_bytes(source_bytes)
    if needed > machine_bytes:
        raise ConversionTooLarge(
            f"Converting {told_bytes(source_bytes)} of safetensors needs {told_bytes(needed)} of memory: the "
            f"weights twice, and the converter itself. This machine has {told_bytes(machine_bytes)} in all.",
            next_step="Convert the model on another computer (./build.sh convert), and bring what it makes.",
        )


def check_files(sizes: Mapping[str, int], converter: Path | None) -> None:
    """By the files' names and sizes alone: nobody should send or fetch for hours what is refused in the end.

    Raises ModelFileUnusable, NoConverter, ConversionTooLarge.
    """
    if must_convert(sizes):
        require_converter(converter)
        source_bytes = sum(size for path, size in sizes.items() if path.endswith(".safetensors"))
        require_memory(source_bytes, psutil.virtual_memory().total)
    else:
        format_of(sizes)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


def _command(job: Conversion, source: Source, made: Path) -> list[str]:
    library = "diffusers" if (job.source / "model_index.json").is_file() else "transformers"
    return [
        str(job.python), "-m", "optimum.commands.optimum_cli", "export", "openvino",
        "--model", str(job.source.absolute()), "--task", TASKS[source.kind], "--library", library,
        *_COMPRESSION[job.weights], str(made),
    ]  # fmt: skip


def _run(
    command: list[str], environment: dict[str, str], tell: Tell, go_on: GoOn, progress: Progress
) -> None:
    """Runs one program to its end, telling what it prints. Raises ConversionFailed, and what `go_on` does."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.setpriority(os.PRIO_PGRP, process.pid, _NICENESS)
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    fresh: deque[str] = deque()
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, lines, fresh), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            time.sleep(_LOOK_SECONDS)
            go_on()
            while fresh:
                after = after_line(progress, fresh.popleft())
                if after != progress:
                    progress = after
                    tell(progress)
    finally:
        _stop(process)
        reader.join(_STOP_SECONDS)
    if process.returncode:
        raise ConversionFailed(
            f"The converter ended with {process.returncode}: {_reason(lines)}",
            next_step="The model may be of an architecture that the converter does not know.",
        )


def _environment(work: Path) -> dict[str, str]:
    """No network, and every file that the converter leaves somewhere ends up in `work`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(work),
        "HF_HOME": str(work / "hub"),
        "TMPDIR": str(work),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _read(output: IO[bytes], lines: deque[str], fresh: deque[str]) -> None:
    """A progress bar ends its line with a carriage return only."""
    rest = b""
    while piece := output.read1(65536):  # type: ignore[attr-defined]  # a pipe is a BufferedReader
        *whole, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            text = line.decode("utf-8", "replace").strip()
            if text:
                lines.append(text)
                fresh.append(text)
    if rest.strip():
        lines.append(rest.decode("utf-8", "replace").strip())


def _reason(lines: deque[str]) -> str:
    """The last line that looks like an error, else the last one."""
    telling = [line for line in lines if "Error" in line or "rror:" in line]
    return ((telling or list(lines) or ["it said nothing."])[-1])[:500]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and all that it started; does nothing to one that has ended."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is not None:
            return


def _copy_what_is_left_behind(source: Path, made: Path) -> None:
    for name in _COPIED:
        if (source / name).is_file():
            (made / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, made / name)


def _move(made: Path, out: Path) -> None:
    """All at once, and on the disk before it counts."""
    for file in made.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    made.rename(out)
