"""What admins chose about releases. Without a channel the box makes no connection outward, and that is the
default.
"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from appliance.host import Outbound, Protocol
from appliance.storage import Choice
from appliance.updating.window import Window

REASON_OUTBOUND = "updates"
_PORTS = {"http": 80, "https": 443}


def _is_channel(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the address of a channel begins with https:// or http://")
    if parts.username or parts.password:
        raise ValueError("an address with a password in it would be shown to everybody who sees this page")
    if parts.query or parts.fragment or any(c.isspace() for c in url):
        raise ValueError("the address of a channel is that of a folder")
    if parts.port == 0:
        raise ValueError("0 is not a port")
    return url if url.endswith("/") else f"{url}/"


ChannelUrl = Annotated[str, Field(max_length=1000), AfterValidator(_is_channel)]
"""An http(s) address of a folder; it ends with a slash."""


class UpdateChoice(Choice):
    """`automatic`: releases of the channel are installed in the window. `hold`: none at all, whoever asks."""

    channel_url: ChannelUrl | None = None
    automatic: bool = True
    hold: bool = False
    window: Window = Window()


def outbound_of(choice: UpdateChoice) -> tuple[Outbound, ...]:
    """The connections outward that the choice needs."""
    if choice.channel_url is None:
        return ()
    parts = urlsplit(choice.channel_url)
    assert parts.hostname, "checked when it was chosen"
    port = parts.port or _PORTS[parts.scheme]
    return (Outbound(host=parts.hostname, port=port, protocol=Protocol.TCP, why=REASON_OUTBOUND),)
