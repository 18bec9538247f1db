"""Tiny OpenVINO models of every kind, made by the real converter from tiny sources, once for each recipe.

from tests.models.tiny import tiny_openvino, tiny_source, converter

They are kept in the cache under a hash of all that makes them; before they are used, every file is compared
with the hashes that were noted when they were made.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from appliance.engines.options import Kind
from appliance.models.conversion_source import Weights
from appliance.models.converting import Conversion, convert

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
RECIPE = (
    "tests/models/tiny_sources.py",
    "hwprofiles/wheels/conversion.lock",
    "appliance/models/converting.py",
)
_NOTE = "made.json"


@cache
def converter() -> Path:
    """The Python of the converter, which is set up if it is missing (a minute)."""
    done = subprocess.run([ROOT / "build.sh", "converter"], check=True, stdout=subprocess.PIPE, timeout=900)
    return Path(done.stdout.decode().strip().splitlines()[-1])


def tiny_source(kind: Kind) -> Path:
    """A folder as a hub would give it."""
    return _kept("sources", _make_sources) / kind.value


def tiny_openvino(kind: Kind, weights: Weights = Weights.INT8) -> Path:
    """A folder that the engine serves."""

    def make(folder: Path) -> None:
        job = Conversion(tiny_source(kind), folder, weights, converter())
        convert(job, lambda _progress: None, lambda: None)

    return _kept(f"openvino-{kind}" if weights is Weights.INT8 else f"openvino-{kind}-{weights}", make)


def _make_sources(folder: Path) -> None:
    command = [converter(), ROOT / "tests" / "models" / "tiny_sources.py", folder]
    subprocess.run(command, check=True, timeout=300)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    recipe = hashlib.sha256(b"".join((ROOT / file).read_bytes() for file in RECIPE)).hexdigest()[:16]
    kept = CACHE / "tiny-models" / f"{name}-{recipe}"
    if not _as_made(kept):
        shutil.rmtree(kept, ignore_errors=True)
        unfinished = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished / "model")
        (unfinished / _NOTE).write_text(json.dumps(_hashes(unfinished / "model")))
        unfinished.rename(kept)
    return kept / "model"


def _as_made(kept: Path) -> bool:
    note = kept / _NOTE
    return note.is_file() and json.loads(note.read_text()) == _hashes(kept / "model")


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
