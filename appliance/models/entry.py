"""One entry of the catalogue, a TOML file: what a model is, where it comes from, how long it is kept up.

An entry never has a hash: what a file is, its hub or whoever carries it says, and the store checks. What
could not be confirmed in one of the `sources` is named in `unverified`.
"""

import tomllib
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.models.bundle import MOST_FILES
from appliance.models.licence import Licence
from appliance.typed_files import toml_files, what_is_wrong

SHIPPED = Path(__file__).parent / "catalogue"
Https = Annotated[str, Field(pattern=r"^https://[^\s]+$", max_length=400)]
Repository = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)
]
FilePattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._*/-]*$", max_length=200)]
"""A path inside the repository, with * for any text."""


class EntryUnusable(Refused):
    """A file of the catalogue that can't be read; nothing of it is used."""

    code = "catalogue_entry_unusable"


class Capability(StrEnum):
    """What a model can do."""

    CHAT = "chat"
    TOOLS = "tools"
    VISION = "vision"
    REASONING = "reasoning"
    CODE = "code"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    IMAGES = "images"


class VariantFormat(StrEnum):
    """How the files of a variant are written; safetensors is for adopted servers, or to be converted."""

    GGUF = "gguf"
    OPENVINO = "openvino"
    SAFETENSORS = "safetensors"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Variant(_Part):
    """One way to get the model. `approximate_gb` (10⁹ bytes) is for choosing; None where nobody says."""

    format: VariantFormat
    quantisation: str = Field(min_length=1, max_length=20)
    repository: Repository
    files: tuple[FilePattern, ...] = Field(min_length=1, max_length=MOST_FILES)
    approximate_gb: float | None = Field(default=None, gt=0, lt=10_000)


class Lifecycle(_Part):
    """When the model came, when it is advised against, when it is no longer served, and what to take then."""

    released: date | None = None
    deprecated: date | None = None
    retired: date | None = None
    migrate_to: str = ""
    because: str = ""

    @model_validator(mode="after")
    def _ends_somewhere(self) -> Self:
        ends = self.deprecated or self.retired
        if ends and not (self.migrate_to and self.because):
            raise ValueError("names an end, but not what to take instead (migrate_to) and why (because)")
        if self.deprecated and self.retired and self.retired <= self.deprecated:
            raise ValueError("retires the model before it is deprecated")
        return self


class Entry(_Part):
    """`name` is the file's. `parameters` in billions, of which `active` for a token (experts are chosen)."""

    name: str = Field(default="", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str = Field(min_length=1, max_length=100)
    family: str = Field(min_length=1, max_length=40)
    kind: Kind
    parameters: float = Field(gt=0, lt=10_000)
    active: float | None = Field(default=None, gt=0)
    context_tokens: int = Field(default=0, ge=0)
    languages: tuple[str, ...] = ()
    """Codes of ISO 639, or "multilingual"."""
    capabilities: tuple[Capability, ...] = Field(min_length=1)
    licence: Licence
    lifecycle: Lifecycle = Lifecycle()
    variants: tuple[Variant, ...] = Field(min_length=1)
    sources: tuple[Https, ...] = Field(min_length=1)
    unverified: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.active is not None and self.active > self.parameters:
            raise ValueError("has more active parameters than parameters")
        if unknown := [name for name in self.unverified if name not in Entry.model_fields]:
            raise ValueError(f"calls unverified what it doesn't have: {', '.join(unknown)}")
        return self

    def is_verified(self, field: str) -> bool:
        """Whether one of the sources says so."""
        return field not in self.unverified


def read_entry(file: Path) -> Entry:
    """Raises EntryUnusable, with a sentence for each thing that is wrong."""
    try:
        given = tomllib.loads(file.read_text())
        return Entry.model_validate({**given, "name": file.stem})
    except (OSError, UnicodeDecodeError) as error:
        raise EntryUnusable(f"{file.name} can't be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise EntryUnusable(f"{file.name} is not TOML: {error}.", next_step="Mend that line.") from error
    except ValidationError as error:
        wrong = " ".join(f"{file.name}: {each}" for each in what_is_wrong(Entry, error))
        raise EntryUnusable(
            wrong, next_step="appliance/models/catalogue/README.md explains each name."
        ) from error


def read_catalogue(folders: Iterable[Path]) -> tuple[dict[str, Entry], tuple[EntryUnusable, ...]]:
    """By name; a file in a later folder takes the place of one of the same name in an earlier one.

    A file that can't be used is told and left out, and with it nothing else: the one before it stays.
    """
    entries: dict[str, Entry] = {}
    unusable: list[EntryUnusable] = []
    for folder in folders:
        for file in toml_files(folder):
            try:
                entries[file.stem] = read_entry(file)
            except EntryUnusable as trouble:
                unusable.append(trouble)
    return entries, tuple(unusable)


def catalogue_folders(state_dir: Path) -> tuple[Path, ...]:
    """Ours, then a customer's own, which wins."""
    return SHIPPED, state_dir / "catalogue"
