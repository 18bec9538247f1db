"""What stands in the way of using a device with its profile, each thing as a sentence. Pure."""

from collections.abc import Iterator, Mapping

from appliance.hardware.facts import Device, MachineFacts
from appliance.hardware.profile import Bad, MemoryOf, Profile
from appliance.hardware.signs import listed_by_vulkan
from appliance.hardware.versions import is_in, nvidia_card, versions

_GIB = 2**30
KNOWN_BAD = "Known not to work:"
_BEYOND_OPENVINO = {
    "openvino/gpu": "Intel's OpenCL driver is not installed: OpenVINO can't open the graphics without it.",
    "openvino/npu": "Intel's Level Zero NPU driver is not installed: OpenVINO can't open the NPU without it.",
}
"""What lacks where OpenVINO itself is there: its plugins for all devices come together."""


def obstacles(profile: Profile, facts: MachineFacts, device: Device | None) -> Iterator[str]:
    """None at all: it can be used. What to do about a missing thing follows it."""
    missing = list(_missing(profile, facts, device))
    yield from missing
    if missing and profile.needs.missing_is_mended_by:
        yield profile.needs.missing_is_mended_by
    for bad in profile.bad:
        if _is_bad(bad, versions(facts, device), facts.runtimes):
            yield f"{KNOWN_BAD} {bad.because}"
    have, needed = _memory(profile, facts, device), profile.needs.memory_gib
    if have is not None and have < needed * _GIB:
        yield f"It has {have / _GIB:.0f} GiB of memory, and {needed:.0f} are needed."


def model_bytes(profile: Profile, facts: MachineFacts, device: Device | None) -> int | None:
    """What a model with its cache may take; None where the memory isn't told."""
    have = _memory(profile, facts, device)
    if have is None:
        return None
    return max(0, int(have * profile.memory.share - profile.memory.reserve_gib * _GIB))


def _missing(profile: Profile, facts: MachineFacts, device: Device | None) -> Iterator[str]:
    needs, driver, have = profile.needs, device.driver if device else "", versions(facts, device)
    if needs.driver and device is not None and driver not in needs.driver:
        loaded = f"{driver} drives it" if driver else "it has no driver"
        yield f"It needs the driver {' or '.join(needs.driver)}, and {loaded}."
    wanted = {"kernel": needs.kernel, "driver": needs.driver_version, "firmware": needs.firmware}
    for name, version_range in wanted.items():
        # a version that nobody tells is not held against it
        if version_range and have[name] and not is_in(have[name], version_range):
            yield f"It needs {name} {version_range}, and this is {have[name]}."
    for name, version_range in needs.runtime.items():
        installed = facts.runtimes.get(name, "")
        if not installed:
            yield f"It needs {name} {version_range}, which is not installed."
        elif not is_in(installed, version_range):
            yield f"It needs {name} {version_range}, and {installed} is installed."
    if needs.vulkan and not listed_by_vulkan(facts, device):
        yield "Vulkan does not list it."
    if profile.engine_name not in facts.engines:
        yield _why_not_started(profile.engine_name, facts)


def _why_not_started(engine: str, facts: MachineFacts) -> str:
    beyond = _BEYOND_OPENVINO.get(engine, "") if "openvino/cpu" in facts.engines else ""
    return beyond or f"The engine {engine} can't be started here."


def _is_bad(bad: Bad, have: Mapping[str, str], runtimes: Mapping[str, str]) -> bool:
    named = [
        (have["kernel"], bad.kernel),
        (have["driver"], bad.driver_version),
        (have["firmware"], bad.firmware),
        *((runtimes.get(name, ""), version_range) for name, version_range in bad.runtime.items()),
    ]
    asked = [(version, version_range) for version, version_range in named if version_range]
    return bool(asked) and all(version and is_in(version, wanted) for version, wanted in asked)


def _memory(profile: Profile, facts: MachineFacts, device: Device | None) -> int | None:
    # a processor has the machine's memory whatever card stands beside it
    shares = device is None or not any(each.is_discrete for each in listed_by_vulkan(facts, device))
    if profile.memory.of is MemoryOf.SYSTEM and shares:
        return facts.memory_bytes or None
    if device is not None and device.memory_bytes:
        return device.memory_bytes
    card = nvidia_card(facts, device)
    return card.memory_bytes if card else None
