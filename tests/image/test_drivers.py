"""Drivers from their makers: pinned by hash, installed whole or not at all, and on the bill of materials."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.works import ROOT, Works

pytestmark = pytest.mark.core
CONTROL = """\
Package: {name}
Version: 1.32.0-1
Architecture: amd64
Maintainer: nobody <nobody@example.com>
Depends: {depends}
Description: a driver that this test made
"""


def make_package(folder: Path, name: str, depends: str = "libc6") -> Path:
    content = folder / f"{name}.d"
    (content / "DEBIAN").mkdir(parents=True)
    (content / "DEBIAN" / "control").write_text(CONTROL.format(name=name, depends=depends))
    library = content / "usr/lib/x86_64-linux-gnu" / f"{name}.so.1"
    library.parent.mkdir(parents=True)
    library.write_bytes(os.urandom(4096))
    file = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", content, file], check=True)
    return file


@dataclass(frozen=True)
class Drivers:
    """A folder of packages and a lock of their own, beside a root with Debian's half only."""

    folder: Path

    def step(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "VARIANT": "small",
            "DRIVERS": str(self.folder),
            "DRIVERS_LOCK": str(self.folder / "drivers.lock"),
        }
        command = [str(ROOT / "image" / "45-drivers.sh"), *arguments]
        return subprocess.run(
            command, env=os.environ | variables, capture_output=True, text=True, check=False
        )

    def install(self) -> subprocess.CompletedProcess[str]:
        return self.step(str(self.root), str(self.folder / "installed.lock"))

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def holds(self, name: str) -> bool:
        return (self.root / "usr/lib/x86_64-linux-gnu" / f"{name}.so.1").is_file()


@pytest.fixture(scope="module")
def drivers(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Drivers:
    drivers = Drivers(tmp_path_factory.mktemp("drivers"))
    drivers.root.mkdir()
    (drivers.folder / "drivers.lock").write_text("# what this test pins\n")
    subprocess.run(["tar", "-C", drivers.root, "-xf", works.out / "work" / "base.tar"], check=True)
    return drivers


def test_without_pinned_drivers_the_build_goes_on_and_says_so(drivers: Drivers) -> None:
    done = drivers.install()
    assert done.returncode == 0, done.stderr
    assert "Intel's NPU and graphics will not be used" in done.stderr


def test_what_is_pinned_is_installed_and_goes_onto_the_bill(drivers: Drivers) -> None:
    make_package(drivers.folder, "intel-level-zero-npu")
    assert drivers.step("--lock").returncode == 0
    done = drivers.install()
    assert done.returncode == 0, done.stderr
    assert drivers.holds("intel-level-zero-npu")
    [line] = [
        line
        for line in (drivers.folder / "installed.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert line.startswith("intel-level-zero-npu=1.32.0-1 amd64 sha256:")
    bill = drivers.folder / "bill.json"
    subprocess.run(
        (
            *(str(ROOT / "image" / "sbom.py"), "--root", drivers.root, "--packages", os.devnull),
            *("--drivers", drivers.folder / "installed.lock"),
            *("--version", "1.0.0", "--variant", "small", "--out", bill),
        ),
        env=os.environ | {"SOURCE_DATE_EPOCH": "1767225600"},
        check=True,
    )
    assert "pkg:generic/intel-level-zero-npu@1.32.0-1" in bill.read_text()


def test_a_package_that_wants_what_the_root_lacks_stops_the_build(drivers: Drivers) -> None:
    file = make_package(drivers.folder, "greedy", depends="libc6 (>= 99)")
    assert drivers.step("--lock").returncode == 0
    done = drivers.install()
    assert done.returncode != 0
    assert "greedy depends on libc6 (>= 99)" in done.stderr
    file.unlink()
    assert drivers.step("--lock").returncode == 0


def test_one_flipped_byte_is_refused_before_anything_is_installed(drivers: Drivers) -> None:
    make_package(drivers.folder, "fresh")
    assert drivers.step("--lock").returncode == 0
    npu = drivers.folder / "intel-level-zero-npu.deb"
    content = bytearray(npu.read_bytes())
    content[-1] ^= 1
    npu.write_bytes(content)
    done = drivers.install()
    assert done.returncode != 0
    assert "intel-level-zero-npu=1.32.0-1 (amd64)" in done.stderr
    assert "not with that hash" in done.stderr
    assert not drivers.holds("fresh")
