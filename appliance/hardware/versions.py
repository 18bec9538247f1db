"""Which versions a device runs with, and whether a version is in a range. Pure."""

import re

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from appliance.hardware.facts import Device, MachineFacts
from appliance.hardware.tools import NvidiaCard, nvidia_cards

_LEADING_VERSION = re.compile(r"\d+(?:\.\d+)*")
_NVIDIA = "10de:"


def is_in(version: str, wanted: str) -> bool:
    """Whether the number that `version` begins with ("6.14.0-33-generic") is in a range."""
    found = _LEADING_VERSION.match(version)
    try:
        return found is not None and Version(found[0]) in SpecifierSet(wanted, prereleases=True)
    except InvalidVersion:
        return False


def nvidia_card(facts: MachineFacts, device: Device | None) -> NvidiaCard | None:
    """What nvidia-smi says of it; of the first card where the machine itself is asked about."""
    if device is not None and not device.pci.startswith(_NVIDIA):
        return None
    cards = nvidia_cards(facts.tools.get("nvidia-smi", ""))
    return next((card for card in cards if device is None or card.pci == device.pci), None)


def versions(facts: MachineFacts, device: Device | None) -> dict[str, str]:
    """Of "kernel", "driver" and "firmware"; "" for what nobody tells, or tells as a date in words."""
    card = nvidia_card(facts, device)
    driver = device.driver_version if device else ""
    said = {
        "kernel": facts.kernel,
        "driver": driver or (card.driver_version if card else ""),
        "firmware": device.firmware if device else "",
    }
    return {name: version if _LEADING_VERSION.match(version) else "" for name, version in said.items()}
