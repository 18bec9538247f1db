"""What a RAUC bundle says of itself, read where the vendor publishes it. The box leaves that to RAUC.

A bundle of the verity format ends with a CMS signature (DER) that holds the manifest, and the signature's
size in 8 bytes, most significant first. RAUC's manifest hash is the SHA-256 of that manifest.
"""

import configparser
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Refused

_SIGNATURE_LIMIT_BYTES = 1024 * 1024


class NotABundle(Refused):
    """The file is no RAUC bundle of the verity format."""

    code = "not_a_bundle"


@dataclass(frozen=True)
class BundleFacts:
    """`manifest_hash` is in hex."""

    version: str
    compatible: str
    manifest_hash: str
    size_bytes: int


def read_bundle(path: Path) -> BundleFacts:
    """Reads the manifest, whoever signed it. Raises NotABundle."""
    manifest = _manifest(path)
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parsed.read_string(manifest.decode())
        update = parsed["update"]
        return BundleFacts(
            update["version"],
            update["compatible"],
            hashlib.sha256(manifest).hexdigest(),
            path.stat().st_size,
        )
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise NotABundle(f"The manifest of {path.name} can't be read.") from error


def _manifest(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(8), "big")
        if not 0 < length <= min(size - 8, _SIGNATURE_LIMIT_BYTES):
            raise NotABundle(f"{path.name} is no RAUC bundle.")
        file.seek(size - 8 - length)
        signature = file.read(length)
    command = ["openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER"]
    done = subprocess.run(command, input=signature, capture_output=True, check=False)
    if done.returncode != 0:
        raise NotABundle(f"The signature of {path.name} does not hold.")
    return done.stdout
