"""Reads what a platform's tools printed. Pure: text in, facts out; what isn't understood is no fact."""

import csv
import re
from dataclasses import dataclass

_MIB = 2**20
NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,pci.device_id,memory.total,driver_version,compute_cap",
    "--format=csv,noheader",
)
ROCMINFO = ("rocminfo",)
VULKANINFO = ("vulkaninfo", "--summary")


@dataclass(frozen=True)
class NvidiaCard:
    """`pci` is "10de:2684"; `compute_capability` like "8.9"."""

    name: str
    pci: str
    memory_bytes: int
    driver_version: str
    compute_capability: str


@dataclass(frozen=True)
class VulkanDevice:
    """`is_software`: a processor that only pretends (llvmpipe); `is_discrete`: with memory of its own."""

    name: str
    pci: str
    is_software: bool
    is_discrete: bool


def nvidia_cards(printed: str) -> tuple[NvidiaCard, ...]:
    """From NVIDIA_SMI, one line a card."""
    cards = []
    for row in csv.reader(printed.splitlines(), skipinitialspace=True):
        # the id is the device's before the vendor's: 0x268410DE
        found = re.fullmatch(r"0x([0-9A-Fa-f]{4})10DE", row[1]) if len(row) == 5 else None
        memory = re.fullmatch(r"(\d+) MiB", row[2]) if found else None
        if found and memory:
            pci = f"10de:{found[1].lower()}"
            cards.append(NvidiaCard(row[0], pci, int(memory[1]) * _MIB, row[3], row[4]))
    return tuple(cards)


def rocm_architectures(printed: str) -> tuple[str, ...]:
    """From ROCMINFO: gfx1100 and the like, each once."""
    return tuple(dict.fromkeys(re.findall(r"^\s*Name:\s+(gfx[0-9a-f]+)\s*$", printed, re.MULTILINE)))


def vulkan_devices(printed: str) -> tuple[VulkanDevice, ...]:
    """From VULKANINFO, each block GPU0:, GPU1: …, in that order."""
    devices = []
    for block in re.split(r"^GPU\d+:\s*$", printed, flags=re.MULTILINE)[1:]:
        said = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", block, re.MULTILINE))
        ids = (said.get(name, "").removeprefix("0x").rjust(4, "0") for name in ("vendorID", "deviceID"))
        kind = said.get("deviceType", "").removeprefix("PHYSICAL_DEVICE_TYPE_")
        devices.append(
            VulkanDevice(said.get("deviceName", ""), ":".join(ids), kind == "CPU", kind == "DISCRETE_GPU")
        )
    return tuple(devices)
