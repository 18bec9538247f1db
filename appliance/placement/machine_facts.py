"""From a line of an inventory to the facts that recognition reads, as if drivers and engines were installed.

An inventory says what is in a machine, not what is installed on it. So the facts are those of a machine that
is set up well: current drivers and libraries, and each engine that the appliance can start on such a part.
What such a machine then is, is decided by the same recognition as for a real one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.hardware.facts import Device, MachineFacts, Processor
from appliance.placement.parts import Graphics, ProcessorPart

_GB = 2**30
_KERNELS = {"linux": "6.19.9", "windows": "10.0.26100", "macos": "25.5.0"}
_RUNTIMES = {
    "openvino": "2026.1.0", "level-zero-npu": "1.30.0", "compute-runtime": "26.05.37020", "rocm": "7.2.0",
    "xrt": "2.21.75", "vulkan": "1.4.328", "cuda": "13.0",
}  # fmt: skip
_NVIDIA_DRIVER = "580.95.05"
_NVIDIA, _AMD, _INTEL = "10de:", "1002:", "8086:"


@dataclass(frozen=True)
class Machine:
    """What one line says: `servers` are those that the station runs itself ("vllm")."""

    cpu: str
    cores: int
    memory_gb: float
    processor: ProcessorPart | None
    gpus: tuple[tuple[Graphics, float], ...] = ()
    """Each card with its memory in GB."""
    npu: bool = True
    system: str = "linux"
    servers: tuple[str, ...] = ()


def facts_of(machine: Machine) -> MachineFacts:
    """The record of such a machine."""
    part = machine.processor
    system = (part.system if part else "") or machine.system
    devices = tuple(_devices(machine, system))
    return MachineFacts(
        system=system,
        architecture=part.architecture if part else "x86_64",
        kernel=_KERNELS[system],
        processor=Processor(
            name=machine.cpu,
            vendor=part.vendor if part else "",
            flags=part.flags if part else frozenset(),
            cores=machine.cores,
        ),
        memory_bytes=int(machine.memory_gb * _GB),
        devices=devices,
        runtimes=_RUNTIMES,
        engines=frozenset(_engines(machine, devices, system)),
        tools=_tools(machine, devices),
    )


def _devices(machine: Machine, system: str) -> Iterator[Device]:
    for card, memory_gb in machine.gpus:
        yield Device(
            pci=card.pci, pci_class=card.pci_class, name=plain_name(card), driver=_driver(card.pci, system),
            driver_version=_NVIDIA_DRIVER if card.pci.startswith(_NVIDIA) else "",
            memory_bytes=int(memory_gb * _GB),
        )  # fmt: skip
    part = machine.processor
    if part and part.graphics:
        yield Device(
            pci=part.graphics,
            pci_class="0300",
            name="Integrated graphics",
            driver=_driver(part.graphics, system),
        )
    if part and part.npu and machine.npu and system == "linux":
        amd = part.npu.startswith("1022:")
        yield Device(
            pci=part.npu, pci_class="1180" if amd else "1200", name="NPU",
            driver="amdxdna" if amd else "intel_vpu",
        )  # fmt: skip


def plain_name(card: Graphics) -> str:
    """The name without the marks of a pattern."""
    said = re.sub(r"\([^)]*\)\?|\$|\\b| \?", "", card.name)
    return re.sub(r"\[(.)[^]]*\]", r"\1", said).replace(".*", " ")


def _driver(pci: str, system: str) -> str:
    windows = {_NVIDIA: "nvlddmkm", _AMD: "amdkmdag", _INTEL: "igfxn"}
    linux = {_NVIDIA: "nvidia", _AMD: "amdgpu", _INTEL: "xe"}
    return (windows if system == "windows" else linux).get(pci[:5], "")


def _engines(machine: Machine, devices: tuple[Device, ...], system: str) -> Iterator[str]:
    yield "llama.cpp/cpu"
    yield from (f"adopted/{server}" for server in machine.servers)
    if system == "macos":
        yield "llama.cpp/metal"
        return
    vendors = {device.pci[:5] for device in devices}
    if machine.processor and machine.processor.architecture == "x86_64":
        yield "openvino/cpu"
    if _NVIDIA in vendors:
        yield "llama.cpp/cuda"
    if _AMD in vendors and system == "linux":
        yield "llama.cpp/rocm"
    if vendors & {_NVIDIA, _AMD, _INTEL}:
        yield "llama.cpp/vulkan"
    if _INTEL in vendors:
        yield from ("openvino/gpu", "openvino/npu")


def _tools(machine: Machine, devices: tuple[Device, ...]) -> dict[str, str]:
    gfx = [card.gfx for card, _ in machine.gpus if card.gfx]
    if machine.processor and machine.processor.gfx:
        gfx.append(machine.processor.gfx)
    shown = [device for device in devices if device.pci_class.startswith("03")]
    own = {card.pci for card, _ in machine.gpus}
    blocks = [
        f"GPU{number}:\n\tvendorID = 0x{device.pci[:4]}\n\tdeviceID = 0x{device.pci[5:]}\n"
        f"\tdeviceType = PHYSICAL_DEVICE_TYPE_{'DISCRETE' if device.pci in own else 'INTEGRATED'}_GPU\n"
        f"\tdeviceName = {device.name}\n"
        for number, device in enumerate(shown)
    ]
    return {
        "rocminfo": "".join(f"  Name:                    {name}\n" for name in gfx),
        "vulkaninfo": "".join(blocks),
    }
