"""What a machine says of itself, as recorded: recognition reads nothing else, so any machine can be replayed.

A record is one JSON document. What a platform's tool printed is kept as it was printed and read by `tools`.
"""

from pydantic import BaseModel, ConfigDict, Field

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
