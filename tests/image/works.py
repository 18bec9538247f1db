"""Where the images of this run are built, and what they are called."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST_VERSION, SECOND_VERSION = "1.0.0", "1.1.0"
CLAIM_CODE = r"(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}"
Overlay = Callable[[Path], None]
"""Lays files into a folder that stands for the root of the new release."""


@dataclass(frozen=True)
class Works:
    """Where images are built. `keys` holds the private keys of this run, which nobody else has."""

    out: Path
    keys: Path
    first_slot: dict[str, str] = field(default_factory=dict)
    """What the first release's slot is known by: roothash, kernel.sha256."""

    @property
    def disk(self) -> Path:
        return self.out / f"cellule-{FIRST_VERSION}-small.raw"

    def bundle(self, version: str) -> Path:
        return self.out / f"cellule-{version}-small.raucb"

    def make(self, version: str, overlay: Overlay | None = None, *, only_bundle: bool = True) -> Path:
        """Builds a release; returns its bundle. `overlay` makes it differ from what the tree says."""
        folder = self.out / "overlay"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if overlay:
            overlay(folder)
        variables = {
            "VARIANT": "small",
            "OUT": str(self.out),
            "FOLLOW": "1",
            "WORKING_TREE": "1",
            "OVERLAY": str(folder),
        }
        if only_bundle:
            variables["ONLY_BUNDLE"] = "1"
        made = subprocess.run(
            [str(ROOT / "image" / "make.sh"), version, str(self.keys)],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        print(made.stderr[-3000:])
        assert made.returncode == 0
        return self.bundle(version)
