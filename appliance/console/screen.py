"""The screen as lines of text, for any size of terminal and either language. Pure.

Every line fits the width; what others named (a disk, a model, an error) can't move the cursor or send a code.
80 × 24 holds everything; a smaller screen loses the QR code first, then what stands lowest.
"""

import unicodedata
from dataclasses import dataclass

from appliance.console import pages
from appliance.console.facts import Facts
from appliance.console.home import home
from appliance.console.menu import Menu, Page
from appliance.console.qr import REVERSED
from appliance.console.texts import text


@dataclass(frozen=True)
class Size:
    """Of a terminal, in characters. `plain`: it shows ASCII only."""

    columns: int = 80
    rows: int = 24
    plain: bool = False


def draw(facts: Facts, menu: Menu, size: Size, language: str) -> list[str]:
    """Exactly `size.rows` lines of at most `size.columns` - 1 characters: the last column would wrap."""
    width = max(20, min(size.columns - 1, 110))
    if menu.page is Page.QR:
        lines = pages.qr(facts, language, size.rows)
    elif menu.page is Page.HOME:
        lines = home(facts, menu, language, width, size.rows, blocks=not size.plain)
    else:
        lines = _framed(facts, menu, language, width, size.rows)
    lines = [_shown(line, size.plain)[: size.columns - 1].rstrip(" ") for line in lines]
    return (lines + [""] * size.rows)[: size.rows]


def _framed(facts: Facts, menu: Menu, language: str, width: int, rows: int) -> list[str]:
    title, body, keys = pages.page(facts, menu, language, width)
    lines = [f" {text(language, 'product')}  {facts.name}", " " + "-" * (width - 2), "", f" {title}", ""]
    lines += body
    lines += [""] * (rows - 2 - len(lines))
    return [*lines[: rows - 2], " " + "-" * (width - 2), f" {keys}"]


def _shown(line: str, plain: bool) -> str:
    if plain:
        decomposed = unicodedata.normalize("NFKD", line)
        line = "".join(char for char in decomposed if not unicodedata.combining(char))
    return "".join(char if _is_one_column(char, plain) else "?" for char in line)


def _is_one_column(char: str, plain: bool) -> bool:
    if char == REVERSED:
        return True
    if plain:
        return " " <= char <= "~"
    return (
        char.isprintable()
        and not unicodedata.combining(char)
        and unicodedata.east_asian_width(char) not in "WF"
    )
