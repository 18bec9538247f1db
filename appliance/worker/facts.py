"""What this machine says of itself, read from where Linux shows it; a fact that can't be read stays empty."""

import platform
from collections.abc import Iterable
from pathlib import Path

import psutil

from appliance import VERSION
from appliance.enrolment.contract import WorkerFacts, WorkerLoad
from appliance.hardware.facts import Device
from appliance.hardware.gathering import read_devices, read_processor
from appliance.worker.presence import Presence

LINE = 120
DISPLAY_CLASSES = ("0300", "0302", "0380")
"""PCI classes of graphics: VGA, 3D, other display (PCI Code and ID Assignment Specification)."""
PCI_VENDORS = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}


def machine_facts(sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> WorkerFacts:
    """The facts that enrolment shows to the admin."""
    return WorkerFacts(
        name=platform.node().partition(".")[0][:64] or "worker",
        agent_version=VERSION,
        os=_os_name()[:LINE],
        cpu=(read_processor(proc).name or platform.machine())[:LINE],
        cores=psutil.cpu_count() or 0,
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpu_names(read_devices(sysfs, proc)),
        mac_addresses=_mac_addresses(sysfs),
    )


def current_load(presence: Presence) -> WorkerLoad:
    """Processor use since the last call, and whether somebody works at the machine."""
    return WorkerLoad(cpu_percent=min(psutil.cpu_percent(), 100.0), user_active=presence.somebody_works())


def gpu_names(devices: Iterable[Device]) -> tuple[str, ...]:
    """One line a graphics device: its product name where the driver tells it, else vendor and PCI id."""
    graphics = [device for device in devices if device.pci_class in DISPLAY_CLASSES]
    return tuple((device.name or _plain_name(device))[:LINE] for device in graphics[:16])


def _plain_name(device: Device) -> str:
    vendor, _, model = device.pci.partition(":")
    return f"{PCI_VENDORS.get(vendor, vendor)} {model}"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _mac_addresses(sysfs: Path) -> tuple[str, ...]:
    # only what has hardware behind it can be woken; a virtual interface has no device link
    found = {_read(device.parent / "address") for device in sysfs.glob("class/net/*/device")}
    return tuple(sorted(address for address in found if len(address) == 17))[:16]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
