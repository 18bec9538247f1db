"""Reads the facts of this machine. What can't be read is no fact; nothing is loaded or changed."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from appliance.hardware.facts import Device, MachineFacts, Processor
from appliance.hardware.tools import NVIDIA_SMI, ROCMINFO, VULKANINFO
from appliance.hardware.user_mode_drivers import has_user_mode_driver

_TOOL_SECONDS = 20
_ARCHITECTURES = {"AMD64": "x86_64", "ARM64": "aarch64"}  # as Windows has them
_MAC_PROCESSOR = ("sysctl", "-n", "machdep.cpu.brand_string")
_SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
_OPENVINO_PLUGINS = {"cpu": "intel_cpu", "gpu": "intel_gpu", "npu": "intel_npu"}
_BACKENDS = {"cpu": "cpu", "cuda": "cuda", "hip": "rocm", "metal": "metal", "vulkan": "vulkan"}
"""How llama.cpp's libraries are called, and what they compute by."""
_SERVERS = {
    "vllm": "vllm",
    "mlx_lm.server": "mlx",
    "ollama": "ollama",
    "lemonade-server": "lemonade",
    "lemond": "lemonade",
}
DEBIAN_PACKAGES = {
    "intel-level-zero-npu": "level-zero-npu",
    "intel-opencl-icd": "compute-runtime",
    "firmware-amd-graphics": "linux-firmware",
    "linux-firmware": "linux-firmware",
    "xrt": "xrt",
}
"""What is no Python package, by the package that brings it."""


def gather(sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> MachineFacts:
    """The facts of the machine that this runs on; a platform's tools are given 20 s each."""
    return MachineFacts(
        source="this machine",
        system=_SYSTEMS.get(platform.system(), platform.system().lower()),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        model=_model(sysfs, proc),
        kernel=platform.release(),
        processor=read_processor(proc),
        memory_bytes=psutil.virtual_memory().total,
        devices=tuple(read_devices(sysfs, proc)),
        runtimes=_runtimes(),
        engines=frozenset(_engines()),
        tools={
            command[0]: printed
            for command in (NVIDIA_SMI, ROCMINFO, VULKANINFO)
            if (printed := _run(command))
        },
    )


def _model(sysfs: Path, proc: Path) -> str:
    names = [_read(sysfs / "class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(filter(None, names)) or _read(proc / "device-tree/model").rstrip("\0")


def read_processor(proc: Path = Path("/proc")) -> Processor:
    """Name and flags of the first one; those of a machine are alike."""
    said: dict[str, str] = {}
    for line in _read(proc / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    return Processor(
        name=said.get("model name") or _run(_MAC_PROCESSOR).strip() or platform.processor(),
        vendor=said.get("vendor_id", ""),
        # Arm has them under another name
        flags=frozenset((said.get("flags") or said.get("Features", "")).split()),
        cores=psutil.cpu_count(logical=False) or 0,
    )


def read_devices(sysfs: Path, proc: Path) -> Iterator[Device]:
    """What is on the PCI bus, with the product's name where its driver tells it."""
    for folder in sorted(sysfs.glob("bus/pci/devices/*")):
        vendor, device, pci_class = (_read(folder / name)[2:] for name in ("vendor", "device", "class"))
        driver = (folder / "driver").resolve().name if (folder / "driver").exists() else ""
        memory = _read(folder / "mem_info_vram_total")  # amdgpu's
        yield Device(
            pci=f"{vendor}:{device}",
            pci_class=pci_class[:4],
            name=_name(folder, proc),
            driver=driver,
            firmware=_read(folder / "fw_version"),  # amdxdna's
            driver_version=_read(sysfs / "module" / driver / "version") if driver else "",
            memory_bytes=int(memory) if memory.isdecimal() else None,
        )


def _name(device: Path, proc: Path) -> str:
    said = _read(device / "label") or _read(device / "product_name")
    return said or _field(_read(proc / "driver/nvidia/gpus" / device.name / "information"), "Model")


def _runtimes() -> dict[str, str]:
    found = {}
    for name in ("openvino", "mlx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    shown = "-f=${Package} ${Version} ${db:Status-Status}\n"
    for line in _run(("dpkg-query", "-W", shown, *DEBIAN_PACKAGES)).splitlines():
        package, installed, *status = line.split()
        if status == ["installed"]:
            found[DEBIAN_PACKAGES[package]] = installed
    rocm = _read(Path("/opt/rocm/.info/version"))
    return found | ({"rocm": rocm} if rocm else {})


def _engines() -> Iterator[str]:
    for file in _package("llama_cpp").glob("lib/*ggml-*"):
        backend = file.name.split("ggml-")[1].partition(".")[0].partition("-")[0]
        if backend in _BACKENDS:
            yield f"llama.cpp/{_BACKENDS[backend]}"
    yield from openvino_engines(_package("openvino") if find_spec("openvino_genai") else None)
    for command, backend in _SERVERS.items():
        if shutil.which(command):
            yield f"adopted/{backend}"


def openvino_engines(package: Path | None, root: Path = Path("/")) -> Iterator[str]:
    """By the plugins in OpenVINO's folder; under Linux those whose device can be opened, too."""
    for backend, plugin in _OPENVINO_PLUGINS.items():
        is_there = package and list(package.glob(f"libs/*openvino_{plugin}_plugin*"))
        if is_there and (platform.system() != "Linux" or has_user_mode_driver(backend, root)):
            yield f"openvino/{backend}"


def _package(name: str) -> Path:
    """Its folder; one that is not there when it isn't installed."""
    found = find_spec(name)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else Path(os.devnull) / "none"


def _run(command: tuple[str, ...]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _field(text: str, name: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for label, _, value in lines if label.strip() == name), "")


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
