"""Whom the box takes for its vendor: one small file in the image, with two public keys.

    age1…                                  bundles are encrypted for it (age, X25519)
    cellule-support-ed25519 <base64>       requests for a session are signed with it

An image built without the file has no vendor: neither a bundle nor a session can be made; the page says so.
"""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pyrage import RecipientError
from pyrage.x25519 import Recipient

from appliance.errors import Broken, Refused

SIGNING_WORD = "cellule-support-ed25519"


class NoVendor(Refused):
    """This image names no vendor."""

    code = "support_no_vendor"
    http_status = 409


class VendorFileBroken(Broken):
    """The vendor's file is there and can't be read as what it should be."""

    code = "support_vendor_file_broken"


@dataclass(frozen=True)
class Vendor:
    """The two public keys of the vendor's support."""

    recipient: Recipient
    signing_key: Ed25519PublicKey


def vendor_text(recipient: str, signing_key: Ed25519PublicKey) -> str:
    """The file's content for these keys; `recipient` is age1…"""
    return f"{recipient}\n{SIGNING_WORD} {base64.b64encode(signing_key.public_bytes_raw()).decode()}\n"


def load_vendor(path: Path) -> Vendor:
    """The vendor that the image names. Raises NoVendor, VendorFileBroken."""
    try:
        lines = path.read_text("ascii").splitlines()
    except FileNotFoundError:
        raise NoVendor(
            "This version of the box was built without a support key of its vendor.",
            next_step="Install a release from your vendor.",
        ) from None
    except (OSError, ValueError) as error:
        raise VendorFileBroken(f"{path} can't be read: {error}.") from error
    try:
        [recipient] = [line for line in lines if line.startswith("age1")]
        [signing] = [line.split()[1] for line in lines if line.startswith(f"{SIGNING_WORD} ")]
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signing, validate=True))
        return Vendor(Recipient.from_str(recipient.strip()), key)
    except (ValueError, IndexError, binascii.Error, RecipientError) as error:
        raise VendorFileBroken(f"{path} does not hold one age key and one signing key.") from error
