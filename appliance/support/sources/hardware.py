"""The hardware as the kernel tells it, without serial numbers: processor, memory, PCI, disks, model."""

from collections.abc import Iterator
from pathlib import Path

import psutil

from appliance.support.sources.box import as_json
from appliance.support.sources.context import Context, Part

SYS = Path("/sys")
_DMI = (
    "sys_vendor",
    "product_name",
    "board_vendor",
    "board_name",
    "bios_vendor",
    "bios_version",
    "bios_date",
)
_PCI = ("vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision")
_CPUINFO = {"model name", "flags", "microcode", "cpu family", "model", "stepping"}


def hardware(context: Context) -> Iterator[Part]:
    """What is in the box, and how full it is."""
    disk = psutil.disk_usage(str(context.settings.state_dir))
    yield Part(
        "hardware.json",
        as_json(
            {
                "product": {name: _read(SYS / "class/dmi/id" / name) for name in _DMI},
                "processor": {"threads": psutil.cpu_count(), **_cpu()},
                "load": psutil.getloadavg(),
                "memory": psutil.virtual_memory()._asdict(),
                "swap": psutil.swap_memory()._asdict(),
                "state_dir": {"total_bytes": disk.total, "free_bytes": disk.free},
                "temperatures": _temperatures(),
                "pci": [_pci(device) for device in sorted((SYS / "bus/pci/devices").glob("*"))],
                "accelerators": sorted(path.name for path in (SYS / "class/accel").glob("*")),
                "graphics": sorted(path.name for path in (SYS / "class/drm").glob("render*")),
                "disks": [_disk(device.parent) for device in sorted((SYS / "block").glob("*/device"))],
                "network": {name: stats._asdict() for name, stats in psutil.net_if_stats().items()},
            }
        ),
    )


def _cpu() -> dict[str, str]:
    """Of the first processor."""
    first = _read(Path("/proc/cpuinfo")).partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip() in _CPUINFO}


def _temperatures() -> dict[str, list[float]]:
    """Degrees Celsius by sensor."""
    return {name: [each.current for each in found] for name, found in psutil.sensors_temperatures().items()}


def _pci(device: Path) -> dict[str, str]:
    driver = device / "driver"
    known = {name: _read(device / name) for name in _PCI}
    return {"slot": device.name, "driver": driver.resolve().name if driver.exists() else "", **known}


def _disk(path: Path) -> dict[str, str]:
    return {"name": path.name, "model": _read(path / "device/model"), "size_sectors": _read(path / "size")}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
