"""The box's own certificate authority, made once: who trusts it needs nothing when a certificate is renewed.

It lives as long as the box and vouches for this box alone: only for names that no public site has
(RFC 5280, section 4.2.1.10), so whoever steals its key can pose as no site of the internet. Its dates are
fixed ones, for the clock of a first start may be wrong by years.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from appliance.errors import Broken
from appliance.private_file import replace, write_once
from appliance.settings import Settings

_NOT_BEFORE = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2055, 1, 1, tzinfo=datetime.UTC)
_VOUCHES_FOR = ("local", "localhost", "internal")
"""And everything below them, and any address. A public name is for the company's own certificate."""


class CertificateKeyUnusable(Broken):
    """The key's file can't be read as the key that this box made."""

    code = "certificate_key_unusable"


@dataclass(frozen=True)
class Authority:
    """`certificate` is what people import."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def has_issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def authority_path(settings: Settings) -> Path:
    """Where the authority's certificate (PEM) lies."""
    return settings.secrets_dir / "ca.crt"


def authority_fingerprint(settings: Settings) -> str:
    """SHA-256 of the authority's certificate in hex pairs with colons, as browsers show it.

    Made now if there is none. Raises CertificateKeyUnusable.
    """
    return ensure_authority(settings).certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def ensure_authority(settings: Settings) -> Authority:
    """The box's authority, made at the first call; safe in several processes at once.

    Raises CertificateKeyUnusable rather than make another key, which no PC would trust.
    """
    key, path = ensure_key(settings.secrets_dir / "ca.key"), authority_path(settings)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        made = _issue(key).public_bytes(Encoding.PEM)
        certificate = x509.load_pem_x509_certificate(write_once(path, made))
    except ValueError:
        certificate = _renewed(key, path)
    if certificate.public_key() != key.public_key():
        certificate = _renewed(key, path)
    return Authority(key, certificate)


def ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in `path`, made there with mode 0600 if it is missing. Raises CertificateKeyUnusable."""
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


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What an authority's key is for, or a server's."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _renewed(key: ec.EllipticCurvePrivateKey, path: Path) -> x509.Certificate:
    """Another certificate of the same key and name: PCs that trust the former one trust what it issues."""
    certificate = _issue(key)
    replace(path, certificate.public_bytes(Encoding.PEM))
    return certificate


def _issue(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # part of the name: a browser that trusts two boxes must not take one's authority for the other's
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Cellule {identifier.digest[:4].hex()}")])
    names = [x509.DNSName(each) for each in _VOUCHES_FOR]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
