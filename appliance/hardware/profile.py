"""One hwprofile: an accelerator class in one TOML file; what is in it, and what is wrong with one.

`recognise` says which device it is about, `needs` what must be there to use it, `bad` what is known not to
work: the first finds, the second and third may turn down, and each says why.
"""

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.errors import Refused
from appliance.typed_files import toml_files, what_is_wrong


def _version_range(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError('is not a range of versions like ">=6.14" or ">=535,<580"') from error
    return text


VersionRange = Annotated[str, AfterValidator(_version_range)]
"""PEP 440 specifiers: ">=6.14,<7"."""
Setting = str | int | float | bool
"""A value of an engine's own setting."""
MOST_PARALLEL = 128
"""Answers that one engine's process makes at once."""
PciPattern = Annotated[str, Field(pattern=r"^[0-9a-f?*]{1,4}:[0-9a-f?*]{1,4}$")]
"""Vendor and device with * and ?: "10de:2[2-5]*" is written as several."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression, searched, not matched."""


FAMILIES = ("gguf", "openvino", "safetensors", "mlx", "flm")


def _format(text: str) -> str:
    if text.partition(":")[0] not in FAMILIES:
        raise ValueError(f"begins with no family of model files ({', '.join(FAMILIES)})")
    return text


Format = Annotated[str, AfterValidator(_format)]
"""Family and quantisation: "gguf:Q4_K_M"."""


class ProfileUnusable(Refused):
    """A file of hwprofiles that can't be read; nothing of it is used."""

    code = "hwprofile_unusable"


class Kind(StrEnum):
    """What an accelerator is."""

    NPU = "npu"
    GPU = "gpu"
    CPU = "cpu"


class EngineName(StrEnum):
    """What computes; `adopted` is a server that the station already runs."""

    LLAMA_CPP = "llama.cpp"
    OPENVINO = "openvino"
    ADOPTED = "adopted"


BACKENDS = {
    EngineName.LLAMA_CPP: ("cpu", "cuda", "rocm", "metal", "vulkan"),
    EngineName.OPENVINO: ("cpu", "gpu", "npu"),
}
"""By which an engine of ours computes; an adopted server's name is its owner's."""


class Exercised(StrEnum):
    """How far a profile was tried: on the hardware, on something in its place, or only written."""

    HARDWARE = "hardware"
    EMULATED = "emulated"
    CONFIGURED = "configured"


class MemoryOf(StrEnum):
    """Whose memory a model takes."""

    DEVICE = "device"
    SYSTEM = "system"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class Signs(_Part):
    """Everything named must hold; a list holds if one of it does."""

    pci: tuple[PciPattern, ...] = ()
    pci_class: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    architecture: tuple[str, ...] = ()
    machine_model: Pattern = ""
    """In the maker's name of the machine."""
    processor: Pattern = ""
    """In the processor's name."""
    flags: tuple[str, ...] = ()
    """All of them must be among the processor's."""
    compute_capability: VersionRange = ""
    """NVIDIA's, as nvidia-smi tells it."""
    gfx: tuple[str, ...] = ()
    """AMD's name of the instruction set, as rocminfo tells it: gfx1100."""
    vulkan: bool = False
    """A device that vulkaninfo lists, software renderers aside."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("names no sign, and would hold for every machine")
        return self


class Needs(_Part):
    """Without one of these the device is recognised and not used, and the reason says what to do."""

    kernel: VersionRange = ""
    driver: tuple[str, ...] = ()
    driver_version: VersionRange = ""
    firmware: VersionRange = ""
    runtime: dict[str, VersionRange] = Field(default_factory=dict)
    vulkan: bool = False
    """Vulkan must list it."""
    memory_gib: float = Field(default=0, ge=0)
    missing_is_mended_by: str = ""
    """What to do about it, a sentence."""


class Bad(_Part):
    """A combination that is known not to work: everything named holds at once."""

    kernel: VersionRange = ""
    driver_version: VersionRange = ""
    firmware: VersionRange = ""
    runtime: dict[str, VersionRange] = Field(default_factory=dict)
    because: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.kernel or self.driver_version or self.firmware or self.runtime):
            raise ValueError("names no version, and would never hold")
        return self


class EngineUse(_Part):
    """`backend` is a build of llama.cpp (cuda …), a device of OpenVINO (NPU …) or an adopted server's name.

    `settings` are that engine's own; `start` is how an adopted server is started.
    """

    name: EngineName
    backend: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    settings: dict[str, Setting] = Field(default_factory=dict)
    start: str = ""

    @model_validator(mode="after")
    def _computes_by_something_known(self) -> Self:
        known = BACKENDS.get(self.name)
        if known and self.backend.partition(".")[0].lower() not in known:
            raise ValueError(f"{self.name.value} has no backend {self.backend!r}, only {', '.join(known)}")
        return self


class Memory(_Part):
    """A model with its cache may take `share` of it, less `reserve_gib`."""

    of: MemoryOf
    share: float = Field(gt=0, le=1)
    reserve_gib: float = Field(default=0, ge=0)


class Answers(_Part):
    """`parallel` at once; a prompt above `prompt_tokens` is refused early (0: the model's own limit)."""

    parallel: int = Field(ge=1, le=MOST_PARALLEL)
    prompt_tokens: int = Field(default=0, ge=0)


class Power(_Part):
    """Watts of the accelerator alone, idle and answering; `source` is the maker's page."""

    idle_watts: float = Field(ge=0)
    busy_watts: float = Field(gt=0)
    source: str = Field(pattern=r"^https://")


class NamedSpeed(_Part):
    """Of a device or processor whose name holds the pattern; the first that does is taken."""

    name: Pattern
    memory_gb_per_second: float = Field(gt=0)
    teraflops: float = Field(default=0, ge=0)


class PublishedSpeed(_Part):
    """What the makers publish of the class, for predicting what was not measured yet.

    `memory_gb_per_second` of the memory where the model lies; `teraflops` dense, in 16 bits (0: not
    published), of a processor by core.
    """

    memory_gb_per_second: float = Field(gt=0)
    teraflops: float = Field(default=0, ge=0)
    teraflops_per_core: float = Field(default=0, ge=0)
    named: tuple[NamedSpeed, ...] = ()
    sources: tuple[Annotated[str, Field(pattern=r"^https://")], ...] = Field(min_length=1)


class Health(_Part):
    """The prompt must be answered with `expects` in the limit."""

    prompt: str = Field(min_length=1)
    expects: str = Field(min_length=1)
    limit_seconds: float = Field(gt=0, le=600)


class Profile(_Part):
    """`name` is the file's. Of the profiles that fit, the one with the highest `preference` is taken.

    `formats` are the model files it runs best, the best first: "gguf:Q4_K_M", "openvino:int4".
    """

    name: str = ""
    title: str = Field(min_length=1)
    kind: Kind
    preference: int = Field(ge=0, le=100)
    exercised: Exercised
    sources: tuple[str, ...] = Field(min_length=1)
    recognise: tuple[Signs, ...] = Field(min_length=1)
    needs: Needs = Needs()
    engine: EngineUse
    memory: Memory
    answers: Answers
    power: Power
    speed: PublishedSpeed | None = None
    health: Health
    formats: tuple[Format, ...] = Field(min_length=1)
    bad: tuple[Bad, ...] = ()

    @property
    def engine_name(self) -> str:
        """As facts name what can be started: "llama.cpp/cuda"."""
        return f"{self.engine.name.value}/{self.engine.backend.partition('.')[0].lower()}"


def read_profile(file: Path) -> Profile:
    """Raises ProfileUnusable, with a sentence for each thing that is wrong."""
    try:
        given = tomllib.loads(file.read_text())
        return Profile.model_validate({**given, "name": file.stem})
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileUnusable(f"{file.name} can't be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileUnusable(f"{file.name} is not TOML: {error}.", next_step="Mend that line.") from error
    except ValidationError as error:
        wrong = " ".join(f"{file.name}: {each}" for each in what_is_wrong(Profile, error))
        raise ProfileUnusable(wrong, next_step="hwprofiles/README.md explains each name.") from error


def read_profiles(folders: Iterable[Path]) -> tuple[dict[str, Profile], tuple[ProfileUnusable, ...]]:
    """By name; a file in a later folder takes the place of one of the same name in an earlier one.

    A file that can't be used is told and left out, and with it nothing else: the one before it stays.
    """
    profiles: dict[str, Profile] = {}
    unusable: list[ProfileUnusable] = []
    for folder in folders:
        for file in toml_files(folder):
            try:
                profiles[file.stem] = read_profile(file)
            except ProfileUnusable as trouble:
                unusable.append(trouble)
    return profiles, tuple(unusable)
