"""What the tests of the image share: keys of their own, the small image, and releases made from it on demand.

An image costs a minute and a boot costs another, so each file tells one story of one box, from top to bottom.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.image.office import Office

ROOT = Path(__file__).parents[2]
FIRST_VERSION = "1.0.0"
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them chroot, mount and make namespaces."""
    for item in items:
        if "tests/image" in str(item.path):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session")
def works(tmp_path_factory: pytest.TempPathFactory) -> Works:
    """The small image of the working tree, signed with keys made now."""
    folder = tmp_path_factory.mktemp("image")
    keys = folder / "keys"
    subprocess.run([str(ROOT / "image" / "keys.sh"), str(keys)], check=True)
    works = Works(folder / "out", keys)
    works.out.mkdir()
    works.make(FIRST_VERSION, only_bundle=False)
    for name in ("roothash", "kernel.sha256"):
        works.first_slot[name] = (works.out / "work" / "slot" / name).read_text()
    return works


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """A LAN with a DHCP server and one employee's PC."""
    with Office("pc", "server") as office:
        office.open_for_business()
        yield office
