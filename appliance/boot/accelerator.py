"""Is the accelerator what it was, and can the engine run at all? Pure.

The engine's library brings one build for each generation of x86-64 processors and picks the best that this
one can run. It needs at least one: a machine where none fits (a file is missing, the hypervisor hides
features) could start everything and answer nothing.

An NPU or GPU that served the last good boot must serve a new release: one whose kernel or driver lost it
answers from the processor, and would pass for good. One that is no longer in the machine was taken out, and
one that broke under a release that ran before is no fault of that release.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from appliance.hardware.obstacles import KNOWN_BAD
from appliance.hardware.report import ChosenProfile, HardwareReport

_AVX512 = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
_AVX2 = frozenset({"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"})

NEEDED_FEATURES: dict[str, frozenset[str]] = {
    "x64": frozenset(),
    "sse42": frozenset({"sse4_2"}),
    "sandybridge": frozenset({"sse4_2", "avx"}),
    "ivybridge": frozenset({"sse4_2", "avx", "f16c"}),
    "piledriver": frozenset({"sse4_2", "avx", "f16c", "fma"}),
    "haswell": _AVX2,
    "alderlake": _AVX2 | {"avx_vnni"},
    "skylakex": _AVX2 | _AVX512,
    "cannonlake": _AVX2 | _AVX512 | {"avx512vbmi"},
    "cascadelake": _AVX2 | _AVX512 | {"avx512_vnni"},
    "icelake": _AVX2 | _AVX512 | {"avx512vbmi", "avx512_vnni"},
    "cooperlake": _AVX2 | _AVX512 | {"avx512_vnni", "avx512_bf16"},
    "zen4": _AVX2 | _AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16"},
    "sapphirerapids": _AVX2 | _AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_tile"},
}
"""Build → the flags of /proc/cpuinfo that it needs, worst first (ggml/src/CMakeLists.txt of llama.cpp)."""


@dataclass(frozen=True)
class AcceleratorFacts:
    """What the machine says: its architecture (`uname -m`), CPU flags, and the engine's builds on disk."""

    machine: str
    cpu_flags: frozenset[str]
    builds: frozenset[str]


@dataclass(frozen=True)
class AcceleratorState:
    as_expected: bool
    sentence: str


def accelerator_as_expected(facts: AcceleratorFacts) -> AcceleratorState:
    """Whether the engine has a build for this processor, and which would serve it best."""
    if facts.machine != "x86_64":
        return AcceleratorState(
            False, f"The engine is built for x86_64, but this machine is {facts.machine}."
        )
    fitting = [
        build
        for build, needed in NEEDED_FEATURES.items()
        if build in facts.builds and needed <= facts.cpu_flags
    ]
    if not fitting:
        there = ", ".join(sorted(facts.builds)) or "none"
        return AcceleratorState(False, f"No build of the engine fits this processor (there: {there}).")
    return AcceleratorState(True, f"Processor: the engine's build for {fitting[-1]} fits.")


class Served(BaseModel):
    """What served a boot of release `version`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    version: str
    profile: ChosenProfile


def accelerator_kept(served: Served | None, now: HardwareReport, version: str) -> AcceleratorState:
    """Whether what served the last good boot serves this one of `version`, or has a good reason not to."""
    if now.chosen is None:
        return AcceleratorState(False, "Nothing here can compute answers.")
    serves = f"{now.chosen.title} serves."
    if served is None or served.profile.profile == now.chosen.profile:
        return AcceleratorState(True, serves)
    before = served.profile
    lost = next((other for other in now.others if other.title == before.title), None)
    if lost is None:
        return AcceleratorState(True, f"{before.title} is no longer there. {serves}")
    # a release may know better than the one before it what must not be used
    if lost.fits or KNOWN_BAD in lost.reason or served.version == version:
        return AcceleratorState(True, f"{serves} {before.title}: {lost.reason}")
    return AcceleratorState(
        False, f"{before.title} served until now, is there, and can't be used any more. {lost.reason}"
    )
