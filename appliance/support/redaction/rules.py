"""What is taken out of every text that leaves for the vendor, as data: a kind of secret is an entry.

A rule with `stands_for` leaves a stable pseudonym (`Pseudonyms`): the vendor can still see that two lines are
about the same person, and not about whom. All others leave only the name of what stood there. Pure.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """`pattern` finds the secret; if it has a group `secret`, only that is taken out.

    `bounded` says that no letter, digit or dash may touch it, which can't be asked where lines were joined.
    """

    name: str
    pattern: str
    bounded: bool = False
    ignores_case: bool = False
    stands_for: str = ""
    joined_only: bool = False
    """Too wide for a line as it stands."""
    one_line: bool = False
    """Its end is the line's, so it means nothing where lines were joined."""
    optional: bool = False
    """Applied only when the admin asked for it."""

    def compiled(self, joined: bool) -> re.Pattern[str]:
        apart = self.bounded and not joined
        pattern = f"(?<![0-9A-Za-z-])(?:{self.pattern})(?![0-9A-Za-z-])" if apart else self.pattern
        return re.compile(pattern, re.IGNORECASE if self.ignores_case else 0)


_CROCKFORD = "[0-9A-HJKMNP-TV-Z]"
# whether there is one is no secret
_VALUE = (
    r"(?!(?:true|false|null|none)\b)"
    r"(?P<secret>\"(?:[^\"\\]|\\.){1,300}\"|'[^']{1,300}'|[^\s,;&\"'}{\[\]]+)"
)
_WORD_START = r"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=[A-Z])))"
_MAIL = "[A-Za-z0-9._%+-]"
_SENSITIVE_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|credentials?|authorization|cookie|bearer|private[_-]?key"
    r"|api[_-]?key|access[_-]?key|(?:recovery|backup|claim|restore)[_-]?(?:key|code)|token|otp"
)

RULES = (
    Rule("api-key", r"sk-cellule-[A-Za-z0-9_-]{6,43}"),
    # one that was cut off ends where its letters do
    Rule(
        "pem",
        r"-----BEGIN [A-Z0-9 ]+-----(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]+-----|[A-Za-z0-9+/=\s]*)",
    ),
    Rule("age-key", r"AGE-SECRET-KEY-1[0-9A-Z]{20,58}", ignores_case=True),
    Rule("invitation", r"CEL1(?:[ -]?[A-Z0-9]{4}){12,16}", ignores_case=True),
    Rule("recovery-key", r"[cbdefghijklnrtuv]{8}(?:-[cbdefghijklnrtuv]{8}){7}", bounded=True),
    # a backup key is eight groups, a claim code four; people also type them in small letters and with spaces
    Rule("code", rf"{_CROCKFORD}{{4}}(?:[ -]{_CROCKFORD}{{4}}){{3,7}}", bounded=True),
    Rule("code", r"(?=[0-9a-z-]{0,38}\d)[0-9a-hjkmnp-tv-z]{4}(?:-[0-9a-hjkmnp-tv-z]{4}){3,7}", bounded=True),
    Rule("initial-password", r"[a-hjkmnp-z2-9]{5}(?:-[a-hjkmnp-z2-9]{5}){3}", bounded=True),
    Rule("wireguard-key", r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", stands_for="wireguard-key"),
    # its last sign is taken for the mark of a soft line end (RFC 2045)
    Rule("wireguard-key", r"[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])", joined_only=True),
    Rule("cookie", r"cellule_(?:session|form)=(?P<secret>[^\s;,\"']+)"),
    Rule("cookie", r"(?:Set-)?Cookie: *(?P<secret>[^\r\n\"]{1,4000})", ignores_case=True, one_line=True),
    Rule(
        "authorization", r"\b(?:Bearer|Basic|Digest) +(?P<secret>[A-Za-z0-9+/=._~-]{8,})", ignores_case=True
    ),
    Rule("token", r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    Rule("token", r"AKIA[0-9A-Z]{16}", bounded=True),
    # a session's token as it is made: 32 random bytes
    Rule(
        "token",
        r"(?=[\w-]{0,42}[A-Z])(?=[\w-]{0,42}[a-z])(?=[\w-]{0,42}\d)[A-Za-z0-9_-]{43}(?!=)",
        bounded=True,
    ),
    Rule("password", r"://[^\s/:@\"']*:(?P<secret>[^\s/@\"']+)@"),
    Rule(
        "password",
        rf"{_WORD_START}(?:{_SENSITIVE_WORDS})[\"']? *[=:] *{_VALUE}",
        ignores_case=True,
    ),
    Rule(
        "e-mail",
        rf"(?<!{_MAIL})(?:{_MAIL}){{1,64}}@[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,8}}",
        stands_for="e-mail",
    ),
    Rule(
        "address",
        r"(?<![\d.])(?:192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254|10\.(?!7[78]\.)\d{1,3})(?:\.\d{1,3}){2}(?![\d.]*\d)",
        stands_for="lan",
        optional=True,
    ),
    Rule(
        "address",
        r"(?:fe80|f[cd][0-9a-f]{2})(?::[0-9a-f]{0,4}){2,7}",
        bounded=True,
        ignores_case=True,
        stands_for="lan",
        optional=True,
    ),
    Rule(
        "address",
        r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
        bounded=True,
        ignores_case=True,
        stands_for="mac",
        optional=True,
    ),
)
