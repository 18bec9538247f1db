"""A release as its vendor signs it: what the targets metadata of the channel says beside a bundle's size
and hash.

What an older box does not know in it is ignored; a bundle whose description can't be understood is no
release for this box, and no reason to refuse the others.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from appliance.host.machine import Version

BUNDLE_NAME = re.compile(r"cellule-[0-9A-Za-z][0-9A-Za-z.~-]{0,90}\.raucb")
METADATA_FOLDER, TARGETS_FOLDER = "metadata/", "targets/"
"""Of a channel: what is signed about releases, and their bundles."""
ManifestHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_NOTES_LIMIT_CHARACTERS = 20_000


class Origin(StrEnum):
    """How a release came to the box."""

    CHANNEL = "channel"
    STICK = "stick"
    UPLOAD = "upload"

    @property
    def is_offline(self) -> bool:
        return self is not Origin.CHANNEL


class _Signed(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class WaveStep(_Signed):
    """From `after_hours` after publication on, `percent` of all boxes install the release by themselves."""

    percent: int = Field(gt=0, le=100)
    after_hours: int = Field(ge=0)


EVERYBODY_AT_ONCE = (WaveStep(percent=100, after_hours=0),)


class Description(_Signed):
    """The `custom` object of a target. `notes` are by language; `published_at` is epoch seconds.

    Numbers are whole, for signed JSON has no others. `min_version`: a box that runs an older one needs a
    release in between; None when any will do.
    """

    version: Version
    manifest_hash: ManifestHash
    compatible: str = Field(min_length=1, max_length=200)
    published_at: int
    notes: dict[str, str] = {}
    waves: tuple[WaveStep, ...] = EVERYBODY_AT_ONCE
    min_version: Version | None = None

    @field_validator("notes")
    @classmethod
    def _are_bounded(cls, notes: dict[str, str]) -> dict[str, str]:
        return {language: text[:_NOTES_LIMIT_CHARACTERS] for language, text in notes.items()}

    @model_validator(mode="after")
    def _waves_only_grow(self) -> Self:
        steps = [(step.after_hours, step.percent) for step in self.waves]
        if (
            not steps
            or steps != sorted(steps)
            or sorted(percent for _, percent in steps) != [p for _, p in steps]
        ):
            raise ValueError("each wave starts after the one before it, and reaches no fewer boxes")
        return self


class Release(Description):
    """A description whose signatures hold, with the bundle that it describes."""

    bundle: str
    size_bytes: int = Field(gt=0)
    sha256: str = ""

    def notes_in(self, language: str) -> str:
        """The notes in that language, else in English, else ""."""
        return self.notes.get(language) or self.notes.get("en", "")


@dataclass(frozen=True)
class Offer:
    """The releases of a verified channel, newest first.

    `expired_at`: when the signatures that lead to them ran out (epoch seconds), None while they are valid.
    """

    releases: tuple[Release, ...]
    expired_at: float | None = None
