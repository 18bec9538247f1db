"""Numbers as people type them into forms: in the visitor's own way to write thousands and decimals."""

import math
import re

from flask_babel import format_decimal, get_locale

_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


def typed_number(text: str) -> float:
    """ "1 200,5" or, on English pages, "1,200.5". Raises ValueError for what is no number."""
    plain = re.sub(r"\s", "", text)
    if str(get_locale()) == "en" and _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    number = float(plain.replace(",", "."))
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def field_value(number: float) -> str:
    """As the visitor would type it; `typed_number` reads it back as the same."""
    return str(format_decimal(number, format="0.#########"))
