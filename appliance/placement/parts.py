"""The parts of parts.toml: what recognition knows of a processor or card that somebody only names."""

import re
import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("parts.toml")


class Graphics(BaseModel):
    """A card. Its memory is 0 where it comes with several sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    pci: str
    memory_gb: float = 0
    pci_class: str = "0300"
    gfx: str = ""


class ProcessorPart(BaseModel):
    """A processor family, with what computes inside it beside the cores."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    vendor: str
    flags: frozenset[str]
    architecture: str = "x86_64"
    system: str = ""
    graphics: str = ""
    gfx: str = ""
    npu: str = ""


class Parts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    graphics: tuple[Graphics, ...]
    no_cards: tuple[str, ...]
    processors: tuple[ProcessorPart, ...]


@cache
def parts() -> Parts:
    return Parts.model_validate(tomllib.loads(FILE.read_text()))


def graphics_named(text: str) -> Graphics | None:
    """The first whose name is in `text`; None for one that the list does not have."""
    return next((each for each in parts().graphics if _is_in(each.name, text)), None)


def is_no_card(text: str) -> bool:
    """Whether `text`, which names none of the cards, is graphics without memory of its own, or nothing."""
    return any(_is_in(name, text) for name in parts().no_cards)


def processor_named(text: str) -> ProcessorPart | None:
    return next((each for each in parts().processors if _is_in(each.name, text)), None)


def _is_in(name: str, text: str) -> bool:
    plain = re.sub(r"\((R|TM)\)|®|™", "", text, flags=re.IGNORECASE)
    return re.search(name, " ".join(plain.split()), re.IGNORECASE) is not None
