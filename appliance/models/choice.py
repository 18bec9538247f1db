"""What admins chose about models. Without their word the box fetches nothing from outside, the default."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from appliance.host import Outbound, Protocol
from appliance.storage import Choice

REASON_OUTBOUND = "models"
HUB_URL = "https://huggingface.co"
_PORTS = {"http": 80, "https": 443}


def _is_hub(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the address of a hub begins with https:// or http://")
    if parts.username or parts.password:
        raise ValueError("an address with a password in it would be shown to everybody who sees this page")
    if parts.query or parts.fragment or any(character.isspace() for character in url):
        raise ValueError("the address of a hub has neither ? nor # in it")
    if parts.port == 0:
        raise ValueError("0 is not a port")
    return url.rstrip("/")


HubUrl = Annotated[str, Field(max_length=1000), AfterValidator(_is_hub)]
"""Of a server that speaks the API of the Hugging Face hub: the hub itself, or a mirror in the company."""


class ModelsChoice(Choice):
    """`quota_bytes`: what models may take of the disk, None: all but a reserve."""

    internet_allowed: bool = False
    hub_url: HubUrl = HUB_URL
    quota_bytes: int | None = Field(default=None, ge=0)


def models_outbound(choice: ModelsChoice) -> tuple[Outbound, ...]:
    """The connections outward that the choice needs.

    The hub answers with addresses of its own large-file servers; a name opens its port towards all.
    """
    if not choice.internet_allowed:
        return ()
    parts = urlsplit(choice.hub_url)
    assert parts.hostname, "checked when it was chosen"
    port = parts.port or _PORTS[parts.scheme]
    return (Outbound(host=parts.hostname, port=port, protocol=Protocol.TCP, why=REASON_OUTBOUND),)
