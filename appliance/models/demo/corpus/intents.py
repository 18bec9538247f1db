"""Intents: what a person may want to know, the many ways of asking it, and the one answer, per language.

A line of `ask` is a pattern (patterns.py). The first sentence of an answer says the essential, since
that is what "shorter, please" returns.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from appliance.models.demo.corpus.patterns import Pattern

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
FOLDER = Path(__file__).parent
INTENT_FILES = ("social", "appliance", "api", "office", "workplace")


@dataclass(frozen=True)
class Wording:
    """One intent in one language."""

    answer: str
    ask: tuple[Pattern, ...]

    @property
    def short_answer(self) -> str:
        return first_sentence(self.answer)


@dataclass(frozen=True)
class Intent:
    name: str
    wording: dict[Language, Wording]


def first_sentence(text: str) -> str:
    """Up to the first full stop, question or exclamation mark that ends a sentence, or the first line."""
    return re.split(r"(?<=[.!?])\s+(?=[A-ZÀÉÈ])|:?\n", text, maxsplit=1)[0]


@cache
def shared_lists(language: Language) -> dict[str, str]:
    """The lists that patterns name with @: name → pattern source."""
    lists: dict[Language, dict[str, str]] = _read("shared")
    return {name: source.replace("\n", "|").strip("|") for name, source in lists[language].items()}


@cache
def load_intents() -> tuple[Intent, ...]:
    """All intents. Raises KeyError or ValueError when one lacks a language or a pattern is malformed."""
    return tuple(
        Intent(name, {language: _wording(entry[language], language) for language in LANGUAGES})
        for file in INTENT_FILES
        for name, entry in _read(file).items()
    )


def patterns(lines: str, language: Language) -> tuple[Pattern, ...]:
    """One pattern per non-empty line."""
    return tuple(Pattern(line, shared_lists(language)) for line in lines.splitlines() if line.strip())


def _wording(entry: dict[str, str], language: Language) -> Wording:
    return Wording(entry["answer"].strip(), patterns(entry["ask"], language))


def _read(name: str) -> dict:  # type: ignore[type-arg]
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
