"""What a browser will show: the fingerprint of the certificate served now, and of the box's own CA."""

import hashlib
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from appliance.claim.certificate import certificate_path
from appliance.settings import Settings

_ASK_AGAIN_SECONDS = 60.0
_known: dict[tuple[str, int], tuple[float, str]] = {}


def served_fingerprints(settings: Settings) -> tuple[str, str]:
    """SHA-256 in hex of the pages' certificate and of the CA; "" for what isn't there yet."""
    if not settings.tls:
        return "", ""
    certificate = _served(settings) or _of_file(certificate_path(settings))
    return certificate, _of_file(settings.secrets_dir / "ca.crt")


def _served(settings: Settings) -> str:
    """From the server itself: a company's certificate may be in the place of our own. Asked once a minute."""
    host = "127.0.0.1" if settings.listen_host == "0.0.0.0" else settings.listen_host  # noqa: S104
    at, known = _known.get((host, settings.port), (0.0, ""))
    if known and time.monotonic() - at < _ASK_AGAIN_SECONDS:
        return known
    try:
        pem = ssl.get_server_certificate((host, settings.port), timeout=1)
    except (OSError, ValueError):
        return ""
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    _known[host, settings.port] = time.monotonic(), fingerprint
    return fingerprint


def _of_file(path: Path) -> str:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()
    except (OSError, ValueError):
        return ""
