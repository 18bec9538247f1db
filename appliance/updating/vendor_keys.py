"""The vendor's keys of a channel: one Ed25519 key a role, each a PEM file in one folder.

root and targets belong offline: they say whom boxes believe, and what a release is. snapshot and timestamp
are needed every few days, where the channel is renewed. A key that is encrypted is asked for on the
terminal; no key and no passphrase is ever on a command line.
"""

import getpass
import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from appliance.errors import Refused

ROLES = ("root", "targets", "snapshot", "timestamp")
KEPT_OFFLINE = ("root", "targets")
FIRST_ROOT = "root.json"
"""Beside the keys: the channel's newest root metadata, which goes into images. It is public."""


class KeyMissing(Refused):
    """A private key that the command needs is not in the folder."""

    code = "channel_key_missing"


class KeysExist(Refused):
    """The folder holds keys already; overwriting them would lose the channel."""

    code = "channel_keys_exist"


def key_path(folder: Path, role: str) -> Path:
    """Where the key of that role lies."""
    return folder / f"{role}.pem"


def make_key(path: Path) -> CryptoSigner:
    """A new key in a file of its own. Raises KeysExist."""
    signer = CryptoSigner.generate_ed25519()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeysExist(f"{path} exists.", next_step="Choose another folder.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(signer.private_bytes)
    return signer


def read_key(folder: Path, role: str) -> CryptoSigner:
    """The key of that role. Raises KeyMissing."""
    path = key_path(folder, role)
    try:
        pem = path.read_bytes()
    except FileNotFoundError as error:
        raise KeyMissing(f"There is no key {path}.", next_step=f"This needs the {role} key.") from error
    try:
        return CryptoSigner(load_pem_private_key(pem, None))
    except TypeError:
        # cryptography says so when a passphrase is needed
        passphrase = getpass.getpass(f"Passphrase of {path}: ").encode()
    except ValueError as error:
        raise KeyMissing(f"{path} is no PEM private key.") from error
    try:
        return CryptoSigner(load_pem_private_key(pem, passphrase))
    except ValueError as error:
        raise KeyMissing(f"That passphrase does not open {path}.") from error
