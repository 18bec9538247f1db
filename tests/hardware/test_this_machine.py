"""The facts of a machine as they are read: from a made-up /sys and /proc, and from this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.hardware import Device, MachineFacts, gather
from appliance.hardware.gathering import openvino_engines

CPUINFO = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) Ultra 7 155H\nflags\t\t: sse4_2 avx2\n"


@pytest.fixture
def laptop(tmp_path: Path) -> tuple[Path, Path]:
    """Its /sys and /proc: an NPU with a driver, a network card without."""
    sysfs, proc = tmp_path / "sys", tmp_path / "proc"
    for address, facts in {
        "0000:00:0b.0": {"vendor": "0x8086", "device": "0x7d1d", "class": "0x120000"},
        "0000:00:1f.6": {"vendor": "0x8086", "device": "0x550a", "class": "0x020000"},
    }.items():
        folder = sysfs / "bus" / "pci" / "devices" / address
        folder.mkdir(parents=True)
        for name, text in facts.items():
            (folder / name).write_text(f"{text}\n")
    driver = sysfs / "bus" / "pci" / "drivers" / "intel_vpu"
    driver.mkdir(parents=True)
    (sysfs / "bus/pci/devices/0000:00:0b.0/driver").symlink_to(driver)
    (sysfs / "module" / "intel_vpu").mkdir(parents=True)
    (sysfs / "module" / "intel_vpu" / "version").write_text("1.0\n")
    (sysfs / "class" / "dmi" / "id").mkdir(parents=True)
    (sysfs / "class" / "dmi" / "id" / "product_name").write_text("Laptop 14\n")
    proc.mkdir()
    (proc / "cpuinfo").write_text(CPUINFO)
    return sysfs, proc


def test_devices_drivers_and_processor_are_read_where_linux_shows_them(laptop: tuple[Path, Path]) -> None:
    facts = gather(*laptop)
    npu, network = facts.devices
    assert npu == Device(pci="8086:7d1d", pci_class="1200", driver="intel_vpu", driver_version="1.0")
    assert (network.pci_class, network.driver) == ("0200", "")
    assert facts.model == "Laptop 14"
    assert facts.processor.name == "Intel(R) Core(TM) Ultra 7 155H"
    assert facts.processor.flags == {"sse4_2", "avx2"}


def test_a_machine_that_shows_nothing_has_few_facts_and_no_trouble(tmp_path: Path) -> None:
    facts = gather(tmp_path / "sys", tmp_path / "proc")
    assert facts.devices == () and facts.model == "" and facts.memory_bytes > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they come with the kernel's driver")
def test_a_tool_that_prints_no_utf8_is_read_as_far_as_it_goes(
    tmp_path: Path, laptop: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "rocminfo"
    tool.parent.mkdir()
    tool.write_bytes(b"#!/bin/sh\nprintf '  Name: gfx1100\\n  Marketing Name: AMD Radeon\\256\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    assert "gfx1100" in gather(*laptop).tools["rocminfo"]


def test_openvino_can_be_started_on_what_has_its_user_mode_driver(tmp_path: Path) -> None:
    wheel, root = tmp_path / "openvino", tmp_path / "root"
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    vendors = root / "etc" / "OpenCL" / "vendors"
    for folder in (wheel / "libs", libraries / "intel-opencl", vendors):
        folder.mkdir(parents=True)
    for plugin in ("cpu", "gpu", "npu"):  # as every wheel has them
        (wheel / "libs" / f"libopenvino_intel_{plugin}_plugin.so").touch()
    assert {*openvino_engines(wheel, root)} == {"openvino/cpu"}
    (libraries / "libOpenCL.so.1").touch()
    (vendors / "rusticl.icd").write_text("libRusticlOpenCL.so.1")
    (vendors / "intel.icd").write_text("/usr/lib/x86_64-linux-gnu/intel-opencl/libigdrcl.so\n")
    assert {*openvino_engines(wheel, root)} == {"openvino/cpu"}, "the package was removed, its file stayed"
    (libraries / "intel-opencl" / "libigdrcl.so").touch()
    assert {*openvino_engines(wheel, root)} == {"openvino/cpu", "openvino/gpu"}
    (libraries / "libze_loader.so.1").touch()
    (libraries / "libze_intel_npu.so.1").touch()
    assert {*openvino_engines(wheel, root)} == {"openvino/cpu", "openvino/gpu", "openvino/npu"}
    assert not [*openvino_engines(None, root)]


def test_openvino_opens_every_device_that_the_facts_name() -> None:
    openvino = pytest.importorskip("openvino")
    named = {engine.partition("/")[2] for engine in gather().engines if engine.startswith("openvino/")}
    opened = {device.partition(".")[0].lower() for device in openvino.Core().available_devices}
    assert opened <= named  # a driver may be there without its device


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance.hardware", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_says_what_this_machine_is_and_what_was_chosen() -> None:
    said = run()
    assert said.stderr == ""
    assert said.returncode == 0, "the tests run where the engine runs"
    assert "Chosen: " in said.stdout and "engine llama.cpp/cpu" in said.stdout


def test_a_record_is_replayed_as_the_machine_itself(tmp_path: Path) -> None:
    file = tmp_path / "this.json"
    file.write_text(run("--record").stdout)
    assert MachineFacts.model_validate_json(file.read_text()) == gather()
    assert run(str(file)).stdout == run().stdout


def test_what_is_no_record_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text('{"kernal": "6.1"}')
    said = run(str(file))
    assert said.returncode == 1 and "is no record of a machine" in said.stderr
