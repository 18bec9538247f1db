"""The verdict of this boot as other processes read it: a small file, there when even storage is not."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.boot.verdict import Kind


class Word(BaseModel):
    """What was found; `check` is "" for a good boot."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    version: str
    check: str = ""
    sentence: str
    next_step: str = ""

    @property
    def is_good(self) -> bool:
        return self.kind is Kind.GOOD


def read_word(path: Path) -> Word | None:
    """None until the verdict was spoken."""
    try:
        return Word.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
