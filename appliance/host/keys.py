"""The WireGuard key of this machine: made once, kept in a file only its owner reads, never handed out."""

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


def ensure_private_key(path: Path) -> X25519PrivateKey:
    """The key in `path` (base64, as `wg genkey` writes it), made there with mode 0600 if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        key = X25519PrivateKey.generate()
        # written aside and linked: two processes starting together end with one key, never with half a file
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(base64.b64encode(key.private_bytes_raw()).decode() + "\n")
            file.flush()
            if os.geteuid() == 0:
                # root may come first; the key is still of the user whose folder it is
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return X25519PrivateKey.from_private_bytes(base64.b64decode(path.read_text()))


def private_text(key: X25519PrivateKey) -> str:
    """The private key as WireGuard's programs read it."""
    return base64.b64encode(key.private_bytes_raw()).decode()


def public_text(key: X25519PrivateKey) -> str:
    """The public half, base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
