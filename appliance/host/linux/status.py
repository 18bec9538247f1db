"""The box as it is now, read from the kernel and from systemd's files; nothing here changes anything."""

import json
import os
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from appliance.host.linux.commands import call
from appliance.host.linux.disks import list_disks
from appliance.host.linux.places import Places
from appliance.host.linux.recovery import is_encrypted, key_slots
from appliance.host.linux.slots import booted_slot
from appliance.host.machine import DataStatus, Interface, MachineStatus

_SECURE_BOOT = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""Four bytes of attributes, then 1 when it is enforced (UEFI specification, section 3.3)."""


def read_status(places: Places) -> MachineStatus:
    """Raises HostFailed, NotPermitted."""
    zone = places.settled / "localtime"
    return MachineStatus(
        version=os_release(places).get("IMAGE_VERSION", ""),
        slot=booted_slot(places),
        hostname=(places.proc / "sys/kernel/hostname").read_text().strip(),
        interfaces=read_interfaces(),
        gateway=read_gateway(),
        dns=read_dns(places),
        timezone=str(zone.readlink()).partition("zoneinfo/")[2] if zone.is_symlink() else "Etc/UTC",
        clock_synchronised=(places.run / "systemd/timesync/synchronized").exists(),
        booted_at=booted_at(places),
        tpm=(places.sys / "class/tpm/tpm0").exists(),
        secure_boot=secure_boot(places),
        data=read_data(places),
        disks=list_disks(places),
    )


def os_release(places: Places) -> dict[str, str]:
    """The variables of os-release(5)."""
    lines = (places.root / "usr/lib/os-release").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip("\"'") for name, _, value in pairs}


def read_interfaces() -> tuple[Interface, ...]:
    """Network cards: Ethernet that isn't made by software."""
    links = json.loads(call("ip", "-json", "-details", "address", "show"))
    return tuple(
        Interface(
            name=link["ifname"],
            mac=link.get("address", ""),
            carrier="LOWER_UP" in link["flags"],
            addresses=tuple(
                IPv4Interface(f"{each['local']}/{each['prefixlen']}")
                for each in link["addr_info"]
                if each["family"] == "inet"
            ),
        )
        for link in links
        if link.get("link_type") == "ether" and "info_kind" not in link.get("linkinfo", {})
    )


def read_gateway() -> IPv4Address | None:
    """Of the default route."""
    routes = json.loads(call("ip", "-json", "-4", "route", "show", "default"))
    return next((IPv4Address(route["gateway"]) for route in routes if "gateway" in route), None)


def read_dns(places: Places) -> tuple[IPv4Address, ...]:
    """The servers that systemd-resolved asks."""
    path = places.run / "systemd/resolve/resolv.conf"
    lines = path.read_text().splitlines() if path.is_file() else []
    servers = (line.split()[1] for line in lines if line.startswith("nameserver ") and ":" not in line)
    return tuple(IPv4Address(server) for server in servers)


def booted_at(places: Places) -> float:
    """Epoch seconds."""
    lines = (places.proc / "stat").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("btime ")))


def secure_boot(places: Places) -> bool:
    variable = places.sys / _SECURE_BOOT
    return variable.is_file() and variable.read_bytes()[4:5] == b"\x01"


def read_data(places: Places) -> DataStatus:
    """Of the data partition; sizes are those of its file system."""
    device: Path = places.partitions / "data"
    if not device.exists() or not (places.data_state / "device").exists():
        return DataStatus(encrypted=False, tpm_bound=False, recovery_key=False, size_bytes=0, free_bytes=0)
    encrypted = is_encrypted(device)
    # a disk that came from another board is still bound to that one's TPM, which is of no use here
    is_opened_by_key = opened_by(places) == "recovery-key"
    room = os.statvfs(places.data)
    return DataStatus(
        encrypted=encrypted,
        tpm_bound=encrypted and not is_opened_by_key and bool(key_slots(device, "systemd-tpm2")),
        recovery_key=encrypted and bool(key_slots(device, "systemd-recovery")),
        size_bytes=room.f_blocks * room.f_frsize,
        free_bytes=room.f_bavail * room.f_frsize,
    )


def opened_by(places: Places) -> str:
    """How data-partition opened it at this start: tpm, bound-anew, recovery-key; "" without encryption."""
    path = places.data_state / "opened"
    return path.read_text().strip() if path.is_file() else ""
