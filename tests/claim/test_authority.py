"""The box's own certificate authority: made once, for its own names only; strict verifiers accept it."""

import multiprocessing
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.claim.authority import (
    CertificateKeyUnusable,
    authority_fingerprint,
    authority_path,
    ensure_authority,
)
from appliance.claim.certificate import ensure_certificate
from appliance.settings import Settings
from tests.enrolment.test_keys import DAY_SECONDS


def fingerprint_in(state_dir: Path) -> str:
    return authority_fingerprint(Settings(state_dir=state_dir))


def verify(authority: Path, leaf: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What OpenSSL says of the chain, as strict as it can be."""
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *options, "-CAfile", authority, leaf],
        capture_output=True,
        text=True,
        check=False,
    )


def test_processes_that_start_together_make_one_authority(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(fingerprint_in, [tmp_path] * 16, chunksize=1))) == 1
    assert stat.S_IMODE((tmp_path / "secrets" / "ca.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["cellule.local", "localhost", "box.cellule.internal"])
def test_strict_verifiers_accept_what_it_issued(tmp_path: Path, name: str) -> None:
    settings = Settings(state_dir=tmp_path, listen_host="192.168.1.20")
    leaf = ensure_certificate(settings).cert_path
    assert verify(authority_path(settings), leaf, "-verify_hostname", name).returncode == 0
    assert verify(authority_path(settings), leaf, "-verify_ip", "192.168.1.20").returncode == 0


def test_it_cant_vouch_for_a_site_of_the_internet(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    authority, own = ensure_authority(settings), ensure_certificate(settings)
    issued = x509.load_pem_x509_certificate(own.cert_path.read_bytes())
    forged = x509.CertificateBuilder(
        issuer_name=issued.issuer,
        subject_name=issued.subject,
        public_key=issued.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=issued.not_valid_before_utc,
        not_valid_after=issued.not_valid_after_utc,
    )
    for extension in issued.extensions:
        is_names = isinstance(extension.value, x509.SubjectAlternativeName)
        value = x509.SubjectAlternativeName([x509.DNSName("bank.example")]) if is_names else extension.value
        forged = forged.add_extension(value, extension.critical)
    path = tmp_path / "forged.crt"
    path.write_bytes(forged.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    refused = verify(authority_path(settings), path)
    assert refused.returncode != 0
    assert "permitted subtree violation" in refused.stderr


def test_its_dates_are_the_same_whatever_the_clock_says(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    ensure_certificate(settings, clock=lambda: 20_000 * DAY_SECONDS)
    later = ensure_certificate(settings, clock=lambda: 22_000 * DAY_SECONDS).cert_path
    assert verify(authority_path(settings), later, "-attime", str(22_000 * DAY_SECONDS)).returncode == 0


def test_a_damaged_certificate_is_made_anew_and_a_damaged_key_never(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    first, leaf = ensure_authority(settings), ensure_certificate(settings).cert_path
    authority_path(settings).write_text("damaged")
    assert ensure_authority(settings).certificate.public_key() == first.certificate.public_key()
    assert verify(authority_path(settings), leaf).returncode == 0, "what was issued before stays good"
    (settings.secrets_dir / "ca.key").write_text("damaged")
    with pytest.raises(CertificateKeyUnusable):
        ensure_authority(settings)
