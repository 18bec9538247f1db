"""What every plan and answer of the host is made of: frozen, and strict about names it does not know."""

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

InterfaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]
"""A tunnel; also part of nftables names, hence without a dash."""
Port = Annotated[int, Field(ge=1, le=65535)]


def _is_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a WireGuard key is base64") from error
    if len(raw) != 32:
        raise ValueError("a WireGuard key has 32 bytes")
    return text


PublicKey = Annotated[str, AfterValidator(_is_key)]
# a host name would be resolved by root, so only addresses
Endpoint = Annotated[str, Field(pattern=r"^(\d{1,3}\.){3}\d{1,3}:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$")]


class Plan(BaseModel):
    """Base of all of them."""

    # what checks a plan is built when one is first made: most processes import many kinds and make few
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
