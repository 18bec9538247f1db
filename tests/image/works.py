"""Where the images of this run are built, and what they are called."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
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

    @property
    def disk(self) -> Path:
        return self.out / f"cellule-{FIRST_VERSION}-small.raw"

    def folder(self, version: str) -> Path:
        """Each release has its own, so that two can be built at once and the first one's root stays."""
        return self.out if version == FIRST_VERSION else self.out / version

    def bundle(self, version: str) -> Path:
        return self.folder(version) / f"cellule-{version}-small.raucb"

    def make(self, version: str, overlay: Overlay | None = None, *, only_bundle: bool = True) -> Path:
        """Builds a release; returns its bundle. `overlay` makes it differ from what the tree says."""
        differs = self.folder(version) / "overlay"
        shutil.rmtree(differs, ignore_errors=True)
        differs.mkdir(parents=True)
        if overlay:
            overlay(differs)
        variables = {
            "VARIANT": "small",
            "OUT": str(self.folder(version)),
            "FOLLOW": "1",
            "WORKING_TREE": "1",
            "OVERLAY": str(differs),
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
