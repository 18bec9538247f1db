"""What an engine of a worker may open: the devices that compute, and nothing else of root's."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.models.demo import DEMO_MODEL_PATH
from appliance.worker.privileges import confinement, device_groups

RENDER, VIDEO, ALL = 61_044, 61_045, 61_046
"""Groups that nobody has."""
NODES = {
    "dri/renderD128": (RENDER, 0o660),
    "dri/card0": (VIDEO, 0o660),
    "accel/accel0": (RENDER, 0o660),
    "nvidia0": (ALL, 0o666),
    "kfd": (0, 0o660),
    "video0": (VIDEO, 0o660),
}

pytestmark = pytest.mark.root


@pytest.fixture
def devices() -> Iterator[Path]:
    """Plain files in the place of nodes: owner and mode decide alike. Others may look into the folder."""
    with tempfile.TemporaryDirectory(prefix="cellule-devices-") as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o755)
        for name, (group, mode) in NODES.items():
            node = folder / name
            node.parent.mkdir(exist_ok=True)
            node.touch()
            os.chown(node, 0, group)
            node.chmod(mode)
        yield folder


def groups_of(confined: list[str]) -> set[int]:
    told = subprocess.run([*confined, "id", "-G"], capture_output=True, text=True, check=True).stdout
    return {int(group) for group in told.split()}


def test_only_groups_that_open_a_computing_device_count(devices: Path) -> None:
    assert device_groups(devices) == (RENDER,)
    assert device_groups(devices / "nothing here") == ()


def test_a_confined_engine_opens_them_and_no_camera(devices: Path) -> None:
    confined = confinement(DEMO_MODEL_PATH, devices)

    def may(*words: str) -> bool:
        return subprocess.run([*confined, "test", *words], check=False).returncode == 0

    opened = {name for name in NODES if may("-r", str(devices / name), "-a", "-w", str(devices / name))}
    assert opened == {"dri/renderD128", "accel/accel0", "nvidia0"}
    assert {RENDER} < groups_of(confined) and {VIDEO, 0}.isdisjoint(groups_of(confined))


def test_without_such_a_device_an_engine_has_no_group_but_its_own(tmp_path: Path) -> None:
    confined = confinement(DEMO_MODEL_PATH, tmp_path)
    assert len(groups_of(confined)) == 1
