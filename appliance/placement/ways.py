"""From what recognition found on a machine to the ways in which it can compute. Pure.

Each device is taken once, by the profile that comes first for it; all of them stay ways, not only the choice:
which one serves a model is decided by speed. On processors OpenVINO is a second way beside llama.cpp. A
server that somebody else runs is a way beside those: it takes no device from our own engines.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from appliance.hardware.facts import Device, MachineFacts
from appliance.hardware.matching import Candidate, Recognition
from appliance.hardware.profile import EngineName, MemoryOf, Profile
from appliance.hardware.profile import Kind as Accelerator
from appliance.placement.contract import HardwareFigures, Way

_SYSTEM = "system"
_OPENVINO_FORMATS = ("openvino:int4", "openvino:int8", "openvino:fp16")


def ways_of(facts: MachineFacts, recognition: Recognition) -> tuple[Way, ...]:
    """The best first, as recognition ranks them."""
    found = [recognition.choice] if recognition.choice else []
    found += [candidate for candidate, _ in recognition.others if candidate.fits]
    published = _published(facts, recognition)
    ways: list[Way] = []
    taken: set[tuple[bool, str]] = set()
    for candidate in found:
        if not candidate.model_bytes:
            continue
        way = _way(facts, candidate)
        device = candidate.device.pci if candidate.device else "processor"
        way = replace(way, figures=published.get(device, way.figures))
        is_ours = way.engine is not EngineName.ADOPTED
        # an engine is told a device's name: of two cards that are called alike, it takes the better
        names = {(is_ours, device), (is_ours, way.name)}
        if not names & taken:
            taken |= names
            ways.append(way)
    return (*ways, *_openvino_on_processor(facts, ways))


def _published(facts: MachineFacts, recognition: Recognition) -> dict[str, HardwareFigures]:
    """What is published of each device, by the profile that knows it best, whether or not it can serve."""
    candidates = [
        *([recognition.choice] if recognition.choice else []),
        *(each for each, _ in recognition.others),
    ]
    found: dict[str, HardwareFigures] = {}
    for candidate in sorted(candidates, key=lambda each: each.profile.preference, reverse=True):
        figures = figures_of(candidate.profile, facts, candidate.device) if candidate.device else None
        if candidate.device and figures:
            found.setdefault(candidate.device.pci, figures)
    return found


def _way(facts: MachineFacts, candidate: Candidate) -> Way:
    profile, device = candidate.profile, candidate.device
    shared = profile.memory.of is MemoryOf.SYSTEM
    return Way(
        profile=profile.name,
        accelerator=profile.kind,
        engine=profile.engine.name,
        device=_device_name(profile),
        memory=_SYSTEM if shared or device is None else device.pci,
        memory_bytes=(candidate.model_bytes or 0) * candidate.count,
        parallel=profile.answers.parallel,
        formats=profile.formats,
        prompt_tokens=profile.answers.prompt_tokens,
        settings=tuple(sorted(profile.engine.settings.items())),
        figures=figures_of(profile, facts, device),
        idle_watts=profile.power.idle_watts * candidate.count,
        busy_watts=profile.power.busy_watts * candidate.count,
    )


def _device_name(profile: Profile) -> str:
    """As an engine's options and reports name it: llama.cpp on a processor says CPU, like OpenVINO."""
    backend = profile.engine.backend
    return backend.upper() if profile.kind is Accelerator.CPU else backend


def _openvino_on_processor(facts: MachineFacts, ways: list[Way]) -> Iterator[Way]:
    for way in ways:
        is_processor = way.accelerator is Accelerator.CPU and way.engine is EngineName.LLAMA_CPP
        if is_processor and "openvino/cpu" in facts.engines:
            yield replace(way, engine=EngineName.OPENVINO, formats=_OPENVINO_FORMATS, settings=())


def figures_of(profile: Profile, facts: MachineFacts, device: Device | None) -> HardwareFigures | None:
    """What is published of this device, found in the profile by its or its machine's name."""
    said = profile.speed
    if said is None:
        return None
    names = f"{device.name if device else ''}\n{facts.processor.name}\n{facts.model}"
    plain = re.sub(r"\((R|TM)\)", "", names)
    named = next((each for each in said.named if re.search(each.name, plain, re.MULTILINE)), None)
    by_core = said.teraflops_per_core * max(1, facts.processor.cores)
    teraflops = (named.teraflops if named else said.teraflops) or by_core
    bandwidth = named.memory_gb_per_second if named else said.memory_gb_per_second
    return HardwareFigures(bandwidth * 1e9, teraflops * 1e12, said.sources[0])
