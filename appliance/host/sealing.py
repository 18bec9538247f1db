"""The key of the tunnels on its way into a backup and back: it leaves the host sealed for its owner alone.

Sealed with age for the public half of the owner's backup key; the box doesn't keep the other half, so whoever
takes over the service user gets no key from a backup or from this verb.
"""

import base64
from pathlib import Path

from appliance.host.contract import InvalidPlan, NotFound
from appliance.host.keys import ensure_private_key, private_text
from appliance.private_file import replace


def seal_key(path: Path, recipient: str) -> str:
    """The key in `path`, made if it is missing, as armoured age text."""
    # not on a worker's PC, which has no backups and lacks the library
    import pyrage

    text = f"{private_text(ensure_private_key(path))}\n".encode()
    try:
        sealed: bytes = pyrage.encrypt(text, [pyrage.x25519.Recipient.from_str(recipient)], armored=True)
    except pyrage.RecipientError as error:
        raise InvalidPlan("This is no age recipient.") from error
    return sealed.decode()


def replace_key(path: Path, sealed: str | None, identity: str | None) -> None:
    """Puts the sealed key in `path`; the one before stays beside it, and comes back with None and None.

    Raises InvalidPlan before anything is changed, NotFound when there is none to come back.
    """
    former = path.with_name(f"{path.name}.former")
    if sealed is None or identity is None:
        if not former.exists():
            raise NotFound("There is no former key of the tunnels.")
        former.replace(path)
        return
    key = _opened(sealed, identity)
    if path.exists():
        replace(former, path.read_bytes())
    replace(path, key)


def _opened(sealed: str, identity: str) -> bytes:
    import pyrage

    try:
        key: bytes = pyrage.decrypt(sealed.encode(), [pyrage.x25519.Identity.from_str(identity)])
        if len(base64.b64decode(key, validate=False)) != 32:
            raise ValueError("a WireGuard key has 32 bytes")
    except (pyrage.DecryptError, pyrage.IdentityError, ValueError) as error:
        raise InvalidPlan(
            "This holds no key of the tunnels, or was sealed for another backup key."
        ) from error
    return key
