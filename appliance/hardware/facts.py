"""What a machine says of itself, as recorded: recognition reads nothing else, so any machine can be replayed.

A record is one JSON document. What a platform's tool printed is kept as it was printed and read by `tools`.
"""

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PciId = str
"""Vendor and device, four hex digits each: "8086:7d1d"."""


class Fact(BaseModel):
    """Unknown names are errors: a record with a typo would be a machine that lacks something."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Processor(Fact):
    """`vendor` and `flags` as /proc/cpuinfo has them; `cores` are physical ones."""

    name: str = ""
    vendor: str = ""
    flags: frozenset[str] = frozenset()
    cores: int = Field(default=0, ge=0)


class Device(Fact):
    """One device on the PCI bus. `pci_class` is class and subclass: "0300" VGA, "1200" accelerator.

    `driver` is the kernel's, bound to it now; "" for none. `memory_bytes` is its own, None if it doesn't say.
    """

    pci: PciId = Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")
    pci_class: str = Field(pattern=r"^[0-9a-f]{4}$")
    name: str = ""
    driver: str = ""
    driver_version: str = ""
    firmware: str = ""
    memory_bytes: int | None = Field(default=None, ge=0)


class MachineFacts(Fact):
    """`system` is linux, windows or macos; `architecture` as `uname -m`; `model` the maker's name for it.

    `runtimes` are libraries by name and version, `engines` what can be started here ("llama.cpp/vulkan"),
    `tools` the output of a platform's tool by its command's name. `source` says where a record comes from.
    """

    source: str = ""
    system: str = "linux"
    architecture: str = "x86_64"
    model: str = ""
    kernel: str = ""
    processor: Processor = Processor()
    memory_bytes: int = Field(default=0, ge=0)
    devices: tuple[Device, ...] = ()
    runtimes: dict[str, str] = Field(default_factory=dict)
    engines: frozenset[str] = frozenset()
    tools: dict[str, str] = Field(default_factory=dict)


def read_told(text: str) -> MachineFacts | None:
    """The record that another machine sent; what this version does not know of it is left out.

    None where it is no record.
    """
    try:
        given = json.loads(text)
        known = _known(given, MachineFacts)
        processor = _known(given.get("processor", {}), Processor)
        devices = [_known(device, Device) for device in given.get("devices", ())]
        return MachineFacts.model_validate({**known, "processor": processor, "devices": devices})
    except (ValueError, TypeError, AttributeError, ValidationError):
        return None


def _known(given: dict[str, object], kind: type[Fact]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name in kind.model_fields}
