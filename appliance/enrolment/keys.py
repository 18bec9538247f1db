"""The box's WireGuard key: made by whichever process needs it first, and the same for all of them.

The private half stays in a file that only its owner reads; the host layer is given that file's path. On the
image that owner is root, so the host broker makes the key there and tells its public half.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from appliance.host import brokered
from appliance.host.keys import ensure_private_key
from appliance.settings import Settings


@dataclass(frozen=True)
class WireguardKey:
    """Where the private key lies, and the public key in base64."""

    path: Path
    public_key: str


def ensure_wireguard_key(settings: Settings) -> WireguardKey:
    """The box's key, made at the first call; safe in several processes at once.

    Raises HostUnavailable on the image while the broker doesn't answer.
    """
    path = settings.wireguard_key_path
    if settings.appliance:
        return WireguardKey(path, brokered(settings).ensure_wireguard_key())
    return WireguardKey(path, wireguard_text(ensure_private_key(path).public_key().public_bytes_raw()))


def wireguard_text(public_key: bytes) -> str:
    """32 bytes in base64, as WireGuard's programs write a key."""
    return base64.b64encode(public_key).decode()
