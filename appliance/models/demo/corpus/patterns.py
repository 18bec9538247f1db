"""Patterns: one line that stands for many wordings of the same question.

`how (do|can) I [quickly] @reset it` has alternatives in round brackets, optional parts in square
ones, and `@name` for a list shared by many patterns. A pattern can be sampled, counted, and turned
into a regular expression, which lets the corpus prove that it never produces a held-out sentence.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

_PIECE = re.compile(r"[()\[\]|]|@\w+|[^()\[\]|@]+")


@dataclass(frozen=True)
class _Choice:
    """One of several sequences; each part of a sequence is text or a nested choice."""

    sequences: tuple[tuple["str | _Choice", ...], ...]

    @cached_property
    def weights(self) -> list[float]:
        """Drawn by the square root of the wordings in it: long lists do not drown short ones."""
        return [_count(sequence) ** 0.5 for sequence in self.sequences]


class Pattern:
    """A parsed pattern. Raises ValueError for brackets that do not match, KeyError for an unknown @name."""

    def __init__(self, source: str, shared: Mapping[str, str]) -> None:
        self.source = source
        self._pieces = _PIECE.findall(source)
        self._shared = shared
        self._root = self._choice(closing=None)

    def sample(self, rng: random.Random) -> str:
        """One wording, without doubled spaces."""
        return " ".join(_sample(self._root, rng).split())

    def count(self) -> int:
        """How many ways there are to choose (an upper bound of the distinct wordings)."""
        return sum(_count(sequence) for sequence in self._root.sequences)

    def regex(self, placeholders: Mapping[str, str]) -> str:
        """An expression over `normalised` text that matches exactly the wordings of this pattern.

        `placeholders` maps a character that is filled in after sampling to an expression of its fillings.
        """
        return rf"\s*{_regex(self._root, placeholders)}\s*"

    def _choice(self, closing: str | None) -> _Choice:
        sequences: list[tuple[str | _Choice, ...]] = []
        parts: list[str | _Choice] = []
        while self._pieces:
            piece = self._pieces.pop(0)
            if piece == closing:
                return _Choice((*sequences, tuple(parts)))
            if piece == "|":
                sequences.append(tuple(parts))
                parts = []
            elif piece == "(":
                parts.append(self._choice(")"))
            elif piece == "[":
                parts.append(_Choice(((), *self._choice("]").sequences)))
            elif piece in ")]":
                raise ValueError(f"{piece} closes nothing in: {self.source}")
            elif piece.startswith("@"):
                parts.append(Pattern(self._shared[piece[1:]], self._shared)._root)
            else:
                parts.append(piece)
        if closing:
            raise ValueError(f"{closing} is missing in: {self.source}")
        return _Choice((*sequences, tuple(parts)))


def normalised(text: str) -> str:
    """Lower case, words only, single spaces: what two sentences are compared by."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _sample(choice: _Choice, rng: random.Random) -> str:
    (sequence,) = rng.choices(choice.sequences, choice.weights)
    return "".join(part if isinstance(part, str) else _sample(part, rng) for part in sequence)


def _count(sequence: tuple["str | _Choice", ...]) -> int:
    return prod(
        sum(_count(inner) for inner in part.sequences) for part in sequence if isinstance(part, _Choice)
    )


def _regex(choice: _Choice, placeholders: Mapping[str, str]) -> str:
    sequences = ("".join(_regex_part(part, placeholders) for part in parts) for parts in choice.sequences)
    return "(?:" + "|".join(sequences) + ")"


def _regex_part(part: "str | _Choice", placeholders: Mapping[str, str]) -> str:
    if isinstance(part, _Choice):
        return _regex(part, placeholders)
    pieces = re.split(f"([{re.escape(''.join(placeholders))}])", part) if placeholders else [part]
    return "".join(placeholders.get(piece) or _regex_text(piece) for piece in pieces if piece)


def _regex_text(text: str) -> str:
    inner = r"\s+".join(re.escape(word) for word in normalised(text).split())
    # Whatever is no letter (space, apostrophe, comma) became a single space in normalised text.
    before = r"\s*" if not text[0].isalnum() else ""
    after = r"\s*" if not text[-1].isalnum() else ""
    return before + inner + after if inner else r"\s*"
