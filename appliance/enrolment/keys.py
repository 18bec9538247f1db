"""The box's WireGuard key: made by whichever process needs it first, and the same for all of them.

The private half stays in a file that only its owner reads; the host layer is given that file's path.
"""

from dataclasses import dataclass
from pathlib import Path

from appliance.host.keys import ensure_private_key, public_text
from appliance.settings import Settings


@dataclass(frozen=True)
class WireguardKey:
    """Where the private key lies, and the public key in base64."""

    path: Path
    public_key: str


def ensure_wireguard_key(settings: Settings) -> WireguardKey:
    """The box's key, made at the first call; safe in several processes at once."""
    path = settings.secrets_dir / "wireguard.key"
    return WireguardKey(path, public_text(ensure_private_key(path)))
