"""Password rules and their hash: long, not the account's own name, not one that everybody tries first.

No rule about digits or capitals: such rules make people write passwords down (NIST SP 800-63B, 5.1.1.2).
The page checks the same rules while one types; `broken_rules` here is what counts.
"""

import re
from enum import StrEnum
from typing import ClassVar

from appliance.errors import Refused

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256

# Reduced to lower-case letters and digits, so that "Password-1234" and "password 1234" are one entry.
COMMON = (
    "password",
    "passwort",
    "motdepasse",
    "azerty",
    "qwerty",
    "administrator",
    "administrateur",
    "letmein",
    "changeme",
    "bonjour",
    "welcome",
    "cellule",
    "appliance",
    "123456789",
    "1234567890",
    "987654321",
    "abcdefgh",
)


_METHOD = "scrypt"
"""With Werkzeug's cost (n = 2^15, r = 8, p = 1)."""
_HASH_OF_NOBODY = f"{_METHOD}:32768:8:1$nobody$" + "0" * 128
"""Costs as much to compare as a real one, and no password is known to have it. Werkzeug's form."""


class PasswordRule(StrEnum):
    """A rule that a password can break; the page shows each with its own sentence."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    HOLDS_NAME = "holds_name"
    COMMON = "common"


class PasswordRefused(Refused):
    """The password breaks at least one rule, named in `rules`."""

    code: ClassVar[str] = "password_refused"

    def __init__(self, rules: tuple[PasswordRule, ...]) -> None:
        super().__init__(
            f"This password can't be used: {', '.join(rules)}.",
            next_step=f"Choose at least {SHORTEST_PASSWORD} characters that others would not guess.",
        )
        self.rules = rules


def broken_rules(password: str, account_name: str) -> tuple[PasswordRule, ...]:
    """The rules that `password` breaks for the account `account_name`; empty when it may be used."""
    broken = []
    if len(password) < SHORTEST_PASSWORD:
        broken.append(PasswordRule.TOO_SHORT)
    if len(password) > LONGEST_PASSWORD:
        broken.append(PasswordRule.TOO_LONG)
    if account_name and account_name.casefold() in password.casefold():
        broken.append(PasswordRule.HOLDS_NAME)
    if _is_common(password):
        broken.append(PasswordRule.COMMON)
    return tuple(broken)


def hash_password(password: str, account_name: str) -> str:
    """The scrypt hash to store. Raises PasswordRefused. Takes about 0.1 s and 32 MiB, on purpose."""
    if broken := broken_rules(password, account_name):
        raise PasswordRefused(broken)
    # where it is used: many processes of the box know accounts, and one looks at passwords
    from werkzeug.security import generate_password_hash

    return generate_password_hash(password, method=_METHOD)


def password_matches(stored_hash: str | None, password: str) -> bool:
    """Whether `password` is the one stored; takes as long when there is no account (`stored_hash` None)."""
    from werkzeug.security import check_password_hash

    # the length is bounded first, for a megabyte of password would cost a megabyte of hashing
    candidate = password[: LONGEST_PASSWORD + 1]
    matches = check_password_hash(stored_hash or _HASH_OF_NOBODY, candidate)
    return matches and stored_hash is not None


def _is_common(password: str) -> bool:
    """One of COMMON with nothing but decoration around it, or too few different characters to be a secret."""
    plain = re.sub(r"[\W_]", "", password.casefold())
    if len(set(password)) < 5:
        return True
    remainder = plain
    for word in sorted(COMMON, key=len, reverse=True):
        remainder = remainder.replace(word, "")
    return len(remainder) < len(plain) and len(re.sub(r"\d", "", remainder)) < 4
