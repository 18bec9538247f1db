"""How the vendor's client and the box speak inside of the tunnel: one JSON object a line, box first.

    box    {"nonce": "…"}
    vendor {"command": name, "arguments": {…}, "signature": base64}
    box    {"nonce": "…", "answer": "…"}   or   {"nonce": "…", "refused": "…"}

The tunnel already says who is at either end; besides, every command is signed with the key that the vendor's
request names, over the session, the nonce of this very answer and the command itself. So a command can't be
made, changed or repeated by anything between. Pure but for the randomness of a nonce.
"""

import base64
import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import NotTrusted

LINE_LIMIT_BYTES = 1024 * 1024
COMMAND_LIMIT_BYTES = 4096
_CONTEXT = b"cellule support command 1\0"


class CommandNotTrusted(NotTrusted):
    """Not signed for this session and this moment."""

    code = "support_command_not_trusted"
    http_status = 403


class AskedCommand(BaseModel):
    """What the vendor sends."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    command: str = Field(max_length=64)
    arguments: dict[str, str] = Field(default={}, max_length=8)
    signature: str = Field(max_length=200)


class Reply(BaseModel):
    """What the box sends; `nonce` is for the next command."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    nonce: str
    answer: str = ""
    refused: str = ""


def make_nonce() -> str:
    return secrets.token_hex(16)


def sign_command(
    key: Ed25519PrivateKey, session_id: str, nonce: str, command: str, arguments: Mapping[str, str]
) -> AskedCommand:
    """Used by the vendor."""
    signature = key.sign(_signed(session_id, nonce, command, arguments))
    return AskedCommand(
        command=command, arguments=dict(arguments), signature=base64.b64encode(signature).decode()
    )


def check_command_signature(key: Ed25519PublicKey, session_id: str, nonce: str, asked: AskedCommand) -> None:
    """Raises CommandNotTrusted."""
    try:
        signature = base64.b64decode(asked.signature, validate=True)
        key.verify(signature, _signed(session_id, nonce, asked.command, asked.arguments))
    except (ValueError, InvalidSignature):
        raise CommandNotTrusted("The command is not signed with the key of this session.") from None


def _signed(session_id: str, nonce: str, command: str, arguments: Mapping[str, str]) -> bytes:
    words = json.dumps([session_id, nonce, command, sorted(arguments.items())]).encode()
    return _CONTEXT + words
