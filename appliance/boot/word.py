"""The verdict of this boot as other processes read it: a small file, there when even storage is not."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Kind(StrEnum):
    """Good, or whose fault it is that it isn't."""

    GOOD = "good"
    BAD_RELEASE = "bad-release"
    BAD_DATA = "bad-data"


class Word(BaseModel):
    """What was found; `check` is "" for a good boot."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")

    kind: Kind
    version: str
    check: str = ""
    sentence: str
    next_step: str = ""
    unwritten: str = ""
    """Why breadcrumbs could not be left, though the verdict could be spoken."""

    @property
    def is_good(self) -> bool:
        return self.kind is Kind.GOOD


def read_word(path: Path) -> Word | None:
    """None until the verdict was spoken."""
    try:
        return Word.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
