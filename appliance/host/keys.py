"""The WireGuard key of this machine: made once, kept in a file only its owner reads, never handed out."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.private_file import write_once

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


def new_private_key() -> "X25519PrivateKey":
    """A key of its own."""
    # here and below, not above: the broker starts without it
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.generate()


def ensure_private_key(path: Path) -> "X25519PrivateKey":
    """The key in `path` (base64, as `wg genkey` writes it), made there with mode 0600 if it is missing."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    if not path.exists():
        write_once(path, private_text(new_private_key()).encode() + b"\n")
    return X25519PrivateKey.from_private_bytes(base64.b64decode(path.read_text()))


def private_text(key: "X25519PrivateKey") -> str:
    """The private key as WireGuard's programs read it."""
    return base64.b64encode(key.private_bytes_raw()).decode()


def public_text(key: "X25519PrivateKey") -> str:
    """The public half, base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
