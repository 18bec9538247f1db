"""Whether a company's certificate can be served: it parses, its chain links, the key is its key. Pure.

What a person should be told, but may accept (names that don't fit, an end that is near), is in the facts.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from appliance.host.contract import InvalidPlan

_LONGEST_CHAIN = 8


class InvalidCertificate(InvalidPlan):
    """The certificate or the key can't be served; `problem` names why, for a page to put in words."""

    def __init__(self, problem: str, sentence: str) -> None:
        super().__init__(sentence, next_step="Give both as PEM text: the certificate first, then its chain.")
        self.problem = problem


@dataclass(frozen=True)
class CertificateFacts:
    """Of the leaf. `names` are DNS names and addresses; `fingerprint` is SHA-256 in hex pairs with colons."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str


def read_certificate(certificate_pem: str) -> CertificateFacts:
    """The facts of the first certificate in the text. Raises InvalidCertificate."""
    return _facts(_load_chain(certificate_pem)[0])


def check_certificate(certificate_pem: str, key_pem: str) -> CertificateFacts:
    """The facts of the leaf. Raises InvalidCertificate; whether it has expired is the caller's to see."""
    chain = _load_chain(certificate_pem)
    try:
        key = load_pem_private_key(key_pem.encode(), password=None)
    except TypeError as error:
        raise InvalidCertificate(
            "key_encrypted", "The key is protected by a password; it can't be."
        ) from error
    except ValueError as error:
        raise InvalidCertificate("key_unreadable", "The key is not a private key in PEM.") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidCertificate("key_kind", "The key is of a kind that browsers don't take.")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
        raise InvalidCertificate("key_short", f"An RSA key of {key.key_size} bits is too short.")
    if key.public_key() != chain[0].public_key():
        raise InvalidCertificate("key_of_another", "The key is not that of the first certificate.")
    _check_chain(chain)
    return _facts(chain[0])


def _load_chain(certificate_pem: str) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(certificate_pem.encode())
    except ValueError as error:
        raise InvalidCertificate("unreadable", "The certificate is not one in PEM.") from error
    if len(chain) > _LONGEST_CHAIN:
        raise InvalidCertificate("chain_long", f"The chain has {len(chain)} certificates.")
    return chain


def _check_chain(chain: list[x509.Certificate]) -> None:
    if isinstance(chain[0].signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        raise InvalidCertificate("signature_weak", "The certificate is signed with SHA-1 or MD5.")
    try:
        for issued, issuer in pairwise(chain):
            issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise InvalidCertificate(
            "chain_broken", "The chain is broken: each certificate must be issued by the one after it."
        ) from error


def _facts(leaf: x509.Certificate) -> CertificateFacts:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        names: tuple[str, ...] = ()
    else:
        addresses = alternatives.get_values_for_type(x509.IPAddress)
        names = (*alternatives.get_values_for_type(x509.DNSName), *map(str, addresses))
    return CertificateFacts(
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        names=names,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(":").upper(),
    )
