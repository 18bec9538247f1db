"""The box's own TLS certificate: made at the first start, before anybody can vouch for the box.

Workers trust the key, not the certificate: the invitation pins the SHA-256 of the public key (RFC 7469,
section 2.4). So the key is made once and never changes, while the certificate around it is renewed before
it expires, or when the box has a new address. The key's file is readable by its owner only.

Only who serves TLS calls `ensure_certificate`, at its start: programs trust the very certificate that they
saved, so the file must stay the one that is served. Everybody else needs the pin, or the file as it is.
"""

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.clock import Clock, now
from appliance.enrolment.lan import lan_addresses
from appliance.errors import Broken
from appliance.private_file import replace, write_once
from appliance.settings import TUNNEL_BOX_ADDRESS, Settings

# the longest that browsers accept from a private root (Apple, HT210176)
_VALID_FOR = datetime.timedelta(days=825)
_RENEW_BEFORE = datetime.timedelta(days=60)
_NAMES = ("cellule.local", "localhost")


class CertificateKeyUnusable(Broken):
    """The key's file can't be read as the key that this box made."""

    code = "certificate_key_unusable"


@dataclass(frozen=True)
class Certificate:
    """PEM files for a TLS server, and the SHA-256 of the public key (DER SubjectPublicKeyInfo), 32 bytes."""

    cert_path: Path
    key_path: Path
    pin: bytes


def certificate_pin(settings: Settings) -> bytes:
    """The SHA-256 of the box's public key, made now if there is none; renews nothing.

    Raises CertificateKeyUnusable.
    """
    return _pin(_ensure_key(_key_path(settings)))


def certificate_path(settings: Settings) -> Path:
    """Where the certificate (PEM) lies that the box serves with."""
    return settings.secrets_dir / "tls.crt"


def ensure_certificate(settings: Settings, *, clock: Clock = now) -> Certificate:
    """The certificate to serve with, made or renewed if need be; safe in several processes at once.

    Raises CertificateKeyUnusable rather than make another key, which would cut off every worker.
    """
    key_path, cert_path = _key_path(settings), certificate_path(settings)
    key = _ensure_key(key_path)
    moment = datetime.datetime.fromtimestamp(clock(), datetime.UTC)
    addresses = _addresses(settings)
    if not _still_good(cert_path, key, addresses, moment):
        certificate = _issue(key, addresses, moment)
        # two processes may both renew: either certificate is as good as the other, for the key is the same
        replace(cert_path, certificate.public_bytes(Encoding.PEM))
    return Certificate(cert_path, key_path, _pin(key))


def _key_path(settings: Settings) -> Path:
    return settings.secrets_dir / "tls.key"


def _ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        fresh = ec.generate_private_key(ec.SECP256R1())
        encoded = write_once(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(encoded, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"a key of type {type(key).__name__}")
    except ValueError as error:
        raise CertificateKeyUnusable(
            f"{path} does not hold the box's certificate key.",
            next_step="Restore it from a backup; without it every worker must be invited anew.",
        ) from error
    return key


def _addresses(settings: Settings) -> set[str]:
    lan = lan_addresses() if settings.listen_host == "0.0.0.0" else (settings.listen_host,)  # noqa: S104
    return {"127.0.0.1", TUNNEL_BOX_ADDRESS, *(address for address in lan if _is_address(address))}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _still_good(
    path: Path,
    key: ec.EllipticCurvePrivateKey,
    addresses: set[str],
    moment: datetime.datetime,
) -> bool:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        found.public_key() == key.public_key()
        and found.not_valid_before_utc <= moment < found.not_valid_after_utc - _RENEW_BEFORE
        and set(_NAMES) <= set(alternatives.get_values_for_type(x509.DNSName))
        and addresses <= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    )


def _issue(
    key: ec.EllipticCurvePrivateKey, addresses: set[str], moment: datetime.datetime
) -> x509.Certificate:
    """A self-signed server certificate (RFC 5280) of no authority over any other."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAMES[0])])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(addresses)]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # a day back: the clock of a PC in the office may be behind
        .not_valid_before(moment - datetime.timedelta(days=1))
        .not_valid_after(moment - datetime.timedelta(days=1) + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _pin(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()
