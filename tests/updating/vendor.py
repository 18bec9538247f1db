"""A vendor who signs on demand: real keys, real bundles in RAUC's form and a real channel folder."""

import io
import os
import secrets
import subprocess
from pathlib import Path

from appliance.updating.bundle import read_bundle
from appliance.updating.channel_folder import ChannelFolder, make_keys
from appliance.updating.release import EVERYBODY_AT_ONCE, Description, WaveStep

DAY = 24 * 3600.0
MONDAY = 1_790_000_000.0 // DAY * DAY
"""A midnight, UTC."""
COMPATIBLE = "cellule-x86-64-test"


class Vendor:
    """`at` is the vendor's clock, epoch seconds; move it to sign in the past or the future."""

    def __init__(self, folder: Path, *, at: float = MONDAY) -> None:
        self.keys, self.channel, self.bundles, self.at = (
            folder / "keys",
            folder / "channel",
            folder / "bundles",
            at,
        )
        self.bundles.mkdir(parents=True)
        make_keys(self.keys, at=at)
        self.first_root = (self.keys / "root.json").read_bytes()

    @property
    def folder(self) -> ChannelFolder:
        return ChannelFolder(self.channel, self.keys, at=self.at)

    def publish(
        self,
        version: str,
        *,
        size_bytes: int = 20_000,
        waves: tuple[WaveStep, ...] = EVERYBODY_AT_ONCE,
        min_version: str | None = None,
        notes: dict[str, str] | None = None,
    ) -> Path:
        """A new release in the channel; returns its bundle there."""
        bundle = self.bundles / f"cellule-{version}.raucb"
        bundle.write_bytes(a_bundle(self.bundles, version, size_bytes))
        facts = read_bundle(bundle)
        self.folder.add(
            Description(
                version=version,
                manifest_hash=facts.manifest_hash,
                compatible=facts.compatible,
                published_at=int(self.at),
                waves=waves,
                min_version=min_version,
                notes=notes or {"en": f"What is new in {version}", "fr": f"Les nouveautés de {version}"},
            ),
            bundle,
        )
        return self.channel / "targets" / bundle.name


def a_bundle(scratch: Path, version: str, size_bytes: int = 20_000) -> bytes:
    """Random blocks, then the signed manifest and its length, as RAUC's verity format has them."""
    key, certificate = scratch / "signer.key", scratch / "signer.pem"
    if not key.exists():
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl([*made, "-keyout", str(key), "-out", str(certificate), "-days", "9", "-subj", "/CN=test"])
    manifest = f"[update]\ncompatible={COMPATIBLE}\nversion={version}\n\n[bundle]\nformat=verity\n"
    manifest += f"verity-hash={secrets.token_hex(32)}\n"
    sign = ["openssl", "cms", "-sign", "-nodetach", "-binary", "-outform", "DER"]
    signed = openssl([*sign, "-signer", str(certificate), "-inkey", str(key)], manifest.encode())
    bundle = io.BytesIO()
    bundle.write(os.urandom(size_bytes))
    bundle.write(signed)
    bundle.write(len(signed).to_bytes(8, "big"))
    return bundle.getvalue()


def openssl(command: list[str], given: bytes = b"") -> bytes:
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout
