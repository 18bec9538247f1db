"""Numbers as people read them, in the visitor's language: durations, counts, sizes, shares."""

from babel.numbers import format_compact_decimal
from flask_babel import format_decimal, get_locale, gettext

NONE_YET = "–"


def count(number: float) -> str:
    """Exact up to 9,999, then 12K or 3.4M."""
    if number < 10_000:
        return str(format_decimal(round(number)))
    return str(format_compact_decimal(number, locale=get_locale(), fraction_digits=1))


def exact(number: int) -> str:
    """With all its digits: 131,072."""
    return str(format_decimal(number))


def decimal(number: float, digits: int = 1) -> str:
    """With at most so many digits behind the point: 8, 0.6, 30.5."""
    return str(format_decimal(round(number, digits)))


def seconds(duration: float | None) -> str:
    """85 ms, 0.85 s, 12.3 s, 4 min; a dash for None. Digits enough to compare, no more."""
    if duration is None:
        return NONE_YET
    if duration < 0.0995:
        return _unbroken(gettext("%(number)s ms", number=format_decimal(round(duration * 1000))))
    if duration < 120:
        digits = "0.00" if duration < 9.995 else "0.0"
        return _unbroken(gettext("%(number)s s", number=format_decimal(duration, format=digits)))
    return _unbroken(gettext("%(number)s min", number=format_decimal(round(duration / 60))))


def percent(share: float) -> str:
    """A share of 0 to 1 as 0 %, 0.4 % or 12 %."""
    digits = "0.0" if 0 < share < 0.0995 else "0"
    return _unbroken(gettext("%(number)s %%", number=format_decimal(share * 100, format=digits)))


def speed(tokens_per_second: float) -> str:
    """Tokens per second; a dash while nothing was measured."""
    if tokens_per_second <= 0:
        return NONE_YET
    digits = "0.0" if tokens_per_second < 99.95 else "#,##0"
    return _unbroken(gettext("%(number)s tokens/s", number=format_decimal(tokens_per_second, format=digits)))


def energy(kilowatt_hours: float) -> str:
    """As 6.3 kWh."""
    return _unbroken(gettext("%(number)s kWh", number=format_decimal(kilowatt_hours, format="#,##0.0")))


def gigabytes(size_bytes: int) -> str:
    """Memory in GB of 2^30 bytes, as sellers of memory count."""
    return _unbroken(gettext("%(number)s GB", number=format_decimal(round(size_bytes / 2**30))))


def size(size_bytes: int) -> str:
    """12 kB, 3.4 MB, 1.2 GB: of 1000, as disks are sold."""
    if size_bytes >= 10**9:
        text = gettext("%(number)s GB", number=format_decimal(size_bytes / 10**9, format="#,##0.0"))
    elif size_bytes >= 10**6:
        text = gettext("%(number)s MB", number=format_decimal(size_bytes / 10**6, format="#,##0.0"))
    else:
        text = gettext("%(number)s kB", number=format_decimal(size_bytes / 10**3, format="#,##0"))
    return _unbroken(text)


def _unbroken(number_and_unit: str) -> str:
    """No line break parts a number from its unit."""
    return number_and_unit.replace(" ", "\N{NO-BREAK SPACE}")
