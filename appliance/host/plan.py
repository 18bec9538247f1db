"""What every plan and answer of the host is made of: frozen, and strict about names it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

InterfaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]
"""A tunnel; also part of nftables names, hence without a dash."""
Port = Annotated[int, Field(ge=1, le=65535)]


class Plan(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
