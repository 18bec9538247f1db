"""The invitation code: what an admin hands to the person at a worker, as text that survives being typed.

CEL1-XXXX-… is the version followed by 40 bytes in base 32 (RFC 4648): id (4), secret (16), the first half
of the SHA-256 of the box's certificate key (16), CRC-32 (4). Case, spaces and dashes mean nothing, and
0, 1 and 8, which base 32 does not use, are read as the O, I and B that they look like. The CRC finds
every change of up to six neighbouring characters, so that a typo is told before anything is sent. It
protects from mistakes only; what protects from people is the secret.
"""

import base64
import binascii
import zlib
from dataclasses import dataclass, field

from appliance.errors import Refused

_VERSION = "CEL1"
_LENGTH_BYTES = 40
_GROUP_CHARACTERS = 4
_LOOK_ALIKES = str.maketrans("018", "OIB")


class InvitationMistyped(Refused):
    """The text is no invitation code, or not exactly the one that was given out."""

    code = "invitation_mistyped"


@dataclass(frozen=True)
class InvitationCode:
    """`id` (4 bytes) names the invitation, `secret` (16) proves it, `pin` (16) says which box made it."""

    id: bytes
    secret: bytes = field(repr=False)
    pin: bytes


def format_code(code: InvitationCode) -> str:
    """The code as it is shown: 84 characters in groups of four."""
    payload = code.id + code.secret + code.pin
    text = base64.b32encode(payload + _checksum(payload)).decode()
    return "-".join([_VERSION, *(text[i : i + _GROUP_CHARACTERS] for i in range(0, 64, _GROUP_CHARACTERS))])


def parse_code(typed: str) -> InvitationCode:
    """The invitation in `typed`. Raises InvitationMistyped, with what is wrong in its sentence."""
    text = "".join(character for character in typed.upper() if character.isalnum())
    if not text.startswith(_VERSION):
        raise InvitationMistyped(f"An invitation code starts with {_VERSION}.", next_step=_COPY_AGAIN)
    text = text.removeprefix(_VERSION).translate(_LOOK_ALIKES)
    if len(text) != _LENGTH_BYTES * 8 // 5:
        raise InvitationMistyped(
            f"The code has {len(text)} characters after {_VERSION}; 64 are needed.", next_step=_COPY_AGAIN
        )
    try:
        raw = base64.b32decode(text)
    except (binascii.Error, ValueError):
        raise InvitationMistyped(
            "The code has a character that no code has.", next_step=_COPY_AGAIN
        ) from None
    payload, checksum = raw[:-4], raw[-4:]
    if checksum != _checksum(payload):
        raise InvitationMistyped("A character of the code is wrong.", next_step=_COPY_AGAIN)
    return InvitationCode(id=payload[:4], secret=payload[4:20], pin=payload[20:])


_COPY_AGAIN = "Compare it with the page where it was made, or paste it."


def _checksum(payload: bytes) -> bytes:
    return zlib.crc32(payload, zlib.crc32(_VERSION.encode())).to_bytes(4, "big")
