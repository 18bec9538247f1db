"""Is this what a profile is about? Each sign is asked one by one, and what holds is the reason. Pure."""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from appliance.hardware.facts import Device, MachineFacts
from appliance.hardware.profile import Signs
from appliance.hardware.tools import VulkanDevice, rocm_architectures, vulkan_devices
from appliance.hardware.versions import is_in, nvidia_card

_GRAPHICS_AND_ACCELERATORS = ("03", "12")
_SIGNAL_PROCESSING = "1180"
"""AMD's NPUs say that they are of this class, as do Intel's sensors."""
_NPU_OF_AMD = "1022:"
_ONLY_FOR_A_SCREEN = ("1a03:", "102b:", "1234:", "1af4:", "1b36:", "15ad:")
"""ASPEED and Matrox in servers; QEMU, virtio, QXL and VMware in virtual machines."""
_AMD = "1002:"


def accelerators(facts: MachineFacts) -> list[Device]:
    """The devices that could compute, as many times as they are there."""
    return [device for device in facts.devices if _could_compute(device)]


def _could_compute(device: Device) -> bool:
    if device.pci_class == _SIGNAL_PROCESSING:
        return device.pci.startswith(_NPU_OF_AMD)
    graphics = device.pci_class.startswith(_GRAPHICS_AND_ACCELERATORS)
    return graphics and not device.pci.startswith(_ONLY_FOR_A_SCREEN)


def recognised(signs: Iterable[Signs], facts: MachineFacts, device: Device | None) -> tuple[str, ...] | None:
    """By what the first set of signs that holds does so; None when none holds.

    `device` None asks about the machine itself: its processor, or a system on a chip.
    """
    for each in signs:
        if _is_about_a_device(each, facts) == (device is not None):
            because = _hold(each, facts, device)
            if because is not None:
                return because
    return None


def _is_about_a_device(signs: Signs, facts: MachineFacts) -> bool:
    asks_a_tool = bool(signs.compute_capability or signs.gfx or signs.vulkan)
    # a system on a chip has graphics that are on no bus
    return bool(signs.pci or signs.pci_class) or (asks_a_tool and bool(accelerators(facts)))


def _hold(signs: Signs, facts: MachineFacts, device: Device | None) -> tuple[str, ...] | None:
    """What holds, as reasons; None unless everything does."""
    because: list[str] = []
    for holds, reason in _asked(signs, facts, device):
        if not holds:
            return None
        because.append(reason)
    return tuple(because)


def _asked(signs: Signs, facts: MachineFacts, device: Device | None) -> Iterator[tuple[bool, str]]:
    """Each sign that is named: whether it holds, and how that reads."""
    processor, pci = facts.processor, device.pci if device else ""
    if signs.pci:
        yield any(fnmatchcase(pci, one) for one in signs.pci), f"device {pci}"
    if signs.pci_class:
        pci_class = device.pci_class if device else ""
        yield pci_class in signs.pci_class, f"class {pci_class}"
    if signs.system:
        yield facts.system in signs.system, facts.system
    if signs.architecture:
        yield facts.architecture in signs.architecture, facts.architecture
    if signs.machine_model:
        yield bool(re.search(signs.machine_model, facts.model)), facts.model
    if signs.processor:
        yield bool(re.search(signs.processor, processor.name)), processor.name
    if signs.flags:
        yield processor.flags >= set(signs.flags), f"processor with {', '.join(signs.flags)}"
    yield from _told_by_a_tool(signs, facts, device)


def _told_by_a_tool(signs: Signs, facts: MachineFacts, device: Device | None) -> Iterator[tuple[bool, str]]:
    if signs.compute_capability:
        card = nvidia_card(facts, device)
        capability = card.compute_capability if card else ""
        yield is_in(capability, signs.compute_capability), f"compute capability {capability}"
    if signs.gfx:
        gfx = [name for name in rocm_architectures(facts.tools.get("rocminfo", "")) if name in signs.gfx]
        yield bool(gfx) and (device is None or device.pci.startswith(_AMD)), ", ".join(gfx)
    if signs.vulkan:
        listed = [each.name for each in listed_by_vulkan(facts, device)]
        yield bool(listed), f"Vulkan lists {', '.join(listed)}"


def listed_by_vulkan(facts: MachineFacts, device: Device | None) -> list[VulkanDevice]:
    """What Vulkan says of it; of everything where the machine itself is asked about."""
    return [
        each
        for each in vulkan_devices(facts.tools.get("vulkaninfo", ""))
        if not each.is_software and (device is None or each.pci == device.pci)
    ]
