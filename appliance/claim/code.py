"""The claim code: who can read it on the box's console may make the first admin.

Four groups of four characters (80 bits) in the alphabet of Crockford's base 32, which has no letters that
look like digits. It lies in a file that only the service user reads, from the first start until the box
is claimed; it is never printed to a log.
"""

import hmac
import re
import secrets
from pathlib import Path

from appliance.private_file import write_once
from appliance.settings import Settings

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOK_ALIKES = str.maketrans("OIL", "011")


def claim_code_path(settings: Settings) -> Path:
    """Where the code lies while the box is unclaimed."""
    return settings.secrets_dir / "claim-code"


def make_claim_code() -> str:
    """A fresh code, as it is shown: XXXX-XXXX-XXXX-XXXX."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def plain_code(typed: str) -> str:
    """A code as people type it (lower case, spaces, O for 0, I or L for 1) without decoration."""
    return re.sub(r"[\s-]", "", typed.upper()).translate(_LOOK_ALIKES)


def read_claim_code(settings: Settings) -> str | None:
    """The code of an unclaimed box, or None when there is none."""
    try:
        return claim_code_path(settings).read_text("ascii").strip() or None
    except FileNotFoundError:
        return None


def code_matches(settings: Settings, typed: str) -> bool:
    """Whether `typed` is the box's code; the comparison takes the same time wherever they differ."""
    code = read_claim_code(settings)
    expected = plain_code(code) if code else ""
    given = plain_code(typed)
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")) and bool(expected)


def write_claim_code(settings: Settings) -> str:
    """Makes the code's file unless one is there already; returns the code that now counts."""
    return write_once(claim_code_path(settings), f"{make_claim_code()}\n".encode()).decode().strip()


def remove_claim_code(settings: Settings) -> None:
    """After the claim: the code opens nothing any more."""
    claim_code_path(settings).unlink(missing_ok=True)
