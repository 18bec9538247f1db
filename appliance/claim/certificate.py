"""The box's own TLS certificate, signed by its own authority: made at the first start.

Workers trust the key, not the certificate: the invitation pins the SHA-256 of the public key (RFC 7469,
section 2.4). So the key is made once and never changes, while the certificate around it is renewed before
it expires, or when the box has a new address or name. The key's file is readable by its owner only.

Who serves TLS calls `ensure_certificate` before it starts, and takes up a renewed one; everybody else needs
the pin, or the authority's certificate.
"""

import datetime
import hashlib
import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.claim.authority import Authority, ensure_authority, ensure_key, key_usage
from appliance.claim.names import box_names
from appliance.clock import Clock, now
from appliance.enrolment.lan import lan_addresses
from appliance.enrolment.pinned import NAME_FOR_WORKERS
from appliance.private_file import replace
from appliance.settings import TUNNEL_BOX_ADDRESS, Settings

# the longest that browsers accept from a private root (Apple, HT210176)
_VALID_FOR = datetime.timedelta(days=825)
_RENEW_BEFORE = datetime.timedelta(days=60)
_NAMES = ("cellule.local", "localhost", NAME_FOR_WORKERS)


@dataclass(frozen=True)
class Certificate:
    """PEM files for a TLS server, and the SHA-256 of the public key (DER SubjectPublicKeyInfo), 32 bytes."""

    cert_path: Path
    key_path: Path
    pin: bytes


@dataclass(frozen=True)
class _Called:
    """What people and programs call the box by."""

    names: set[str]
    addresses: set[str]


def certificate_pin(settings: Settings) -> bytes:
    """The SHA-256 of the box's public key, made now if there is none; renews nothing.

    Raises CertificateKeyUnusable.
    """
    return _pin(ensure_key(_key_path(settings)))


def certificate_path(settings: Settings) -> Path:
    """Where the box's own certificate (PEM, with its authority's) lies."""
    return settings.secrets_dir / "tls.crt"


def ensure_certificate(settings: Settings, *, clock: Clock = now) -> Certificate:
    """The certificate to serve with, made or renewed if need be; safe in several processes at once.

    Raises CertificateKeyUnusable rather than make another key, which would cut off every worker.
    """
    key_path, cert_path = _key_path(settings), certificate_path(settings)
    key, authority = ensure_key(key_path), ensure_authority(settings)
    moment = datetime.datetime.fromtimestamp(clock(), datetime.UTC)
    called = _Called(_names(settings), _addresses(settings))
    if not _still_good(cert_path, key, authority, called, moment):
        leaf = _issue(key, authority, called, moment)
        # two processes may both renew: either certificate is as good as the other, for the key is the same
        chain = [leaf.public_bytes(Encoding.PEM), authority.certificate.public_bytes(Encoding.PEM)]
        replace(cert_path, b"".join(chain))
    return Certificate(cert_path, key_path, _pin(key))


def _key_path(settings: Settings) -> Path:
    return settings.secrets_dir / "tls.key"


def _names(settings: Settings) -> set[str]:
    """What mDNS tells of the box, and on the image also the name that people gave it."""
    own = socket.gethostname().partition(".")[0].lower()
    named = settings.appliance and re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", own)
    return {*_NAMES, *box_names(settings), *([f"{own}.local"] if named else [])}


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
    authority: Authority,
    called: _Called,
    moment: datetime.datetime,
) -> bool:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        found.public_key() == key.public_key()
        and authority.has_issued(found)
        and found.not_valid_before_utc <= moment < found.not_valid_after_utc - _RENEW_BEFORE
        and called.names <= set(alternatives.get_values_for_type(x509.DNSName))
        and called.addresses <= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    )


def _issue(
    key: ec.EllipticCurvePrivateKey,
    authority: Authority,
    called: _Called,
    moment: datetime.datetime,
) -> x509.Certificate:
    """A server certificate (RFC 5280) of no authority over any other."""
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(called.names)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(called.addresses)]
    of_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAMES[0])]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # a day back: the clock of a PC in the office may be behind
        .not_valid_before(moment - datetime.timedelta(days=1))
        .not_valid_after(moment - datetime.timedelta(days=1) + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(of_authority, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _pin(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()
