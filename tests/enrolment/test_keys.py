"""The box's two keys: made once, unreadable to others; the certificate may go, its key never does."""

import datetime
import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.claim.authority import CertificateKeyUnusable
from appliance.claim.certificate import certificate_pin, ensure_certificate
from appliance.claim.names import unique_name
from appliance.clock import now
from appliance.enrolment.keys import ensure_wireguard_key
from appliance.settings import Settings

DAY_SECONDS = 24 * 3600


def make_both(state_dir: Path) -> tuple[bytes, str]:
    settings = Settings(state_dir=state_dir)
    return ensure_certificate(settings).pin, ensure_wireguard_key(settings).public_key


def test_processes_that_start_together_have_the_same_keys(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(6) as pool:
        made = pool.map(make_both, [tmp_path] * 24, chunksize=1)
    assert len(set(made)) == 1
    files = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert files == ["ca.crt", "ca.key", "tls.crt", "tls.key", "wireguard.key"]
    for name in files:
        assert stat.S_IMODE((tmp_path / "secrets" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def load(settings: Settings) -> x509.Certificate:
    return x509.load_pem_x509_certificate(ensure_certificate(settings).cert_path.read_bytes())


def test_the_certificate_says_what_browsers_want(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, listen_host="192.168.1.20")
    certificate = load(settings)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(alternatives.get_values_for_type(x509.DNSName)) == {
        "box.cellule.internal",
        "cellule.local",
        "localhost",
        unique_name(settings),
    }
    addresses = {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "10.77.0.1", "192.168.1.20"}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=825)


def test_a_certificate_is_kept_until_it_is_old_and_the_key_outlives_it(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    first = ensure_certificate(settings)
    text = first.cert_path.read_bytes()
    assert ensure_certificate(settings, clock=lambda: now() + 700 * DAY_SECONDS) == first
    assert first.cert_path.read_bytes() == text
    assert ensure_certificate(settings, clock=lambda: now() + 800 * DAY_SECONDS).pin == first.pin
    assert first.cert_path.read_bytes() != text


def test_a_new_address_or_a_damaged_file_renews_the_certificate(tmp_path: Path) -> None:
    first = ensure_certificate(Settings(state_dir=tmp_path, listen_host="192.168.1.20"))
    text = first.cert_path.read_bytes()
    moved = Settings(state_dir=tmp_path, listen_host="192.168.1.30")
    assert certificate_pin(moved) == first.pin
    assert first.cert_path.read_bytes() == text, "asking for the pin renews nothing"
    assert ensure_certificate(moved) == first
    assert first.cert_path.read_bytes() != text
    first.cert_path.write_text("damaged")
    assert ensure_certificate(moved) == first
    assert load(moved)


@pytest.mark.parametrize("content", ["", "damaged"])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: str) -> None:
    settings = Settings(state_dir=tmp_path)
    path = ensure_certificate(settings).key_path
    path.write_text(content)
    with pytest.raises(CertificateKeyUnusable, match="Restore it"):
        ensure_certificate(settings)
    assert path.read_text() == content
