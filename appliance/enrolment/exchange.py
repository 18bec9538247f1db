"""The proof that two sides hold the same invitation, without the secret or a private key ever travelling.

Both derive keys by HKDF-SHA256 (RFC 5869) from the invitation's secret and an X25519 agreement (RFC 7748)
between the worker's WireGuard key and a key that the box makes for this one challenge. The salt is the
hash of the transcript: the box's certificate key, the invitation, both public keys, both nonces. So a
proof made for one box, invitation or public key is worth nothing for another, only the owner of the
private key can make one, and nothing that a stranger records lets him test guesses of the secret.

The short code is settled by the transcript before the worker says anything else: neither side can steer
it afterwards by what it sends.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.errors import NotTrusted

_PROTOCOL = b"cellule enrolment 1"


class WeakKey(NotTrusted):
    """A public key of low order: the agreement would be the same for everybody."""

    code = "weak_key"


@dataclass(frozen=True)
class Transcript:
    """What both sides have seen once the challenge is there. `pin` is the whole SHA-256, 32 bytes."""

    pin: bytes
    invitation_id: bytes
    public_key: bytes
    nonce: bytes
    ephemeral_key: bytes
    box_nonce: bytes

    def digest(self) -> bytes:
        """32 bytes that differ if any field does."""
        fields = (
            self.pin,
            self.invitation_id,
            self.public_key,
            self.nonce,
            self.ephemeral_key,
            self.box_nonce,
        )
        return hashlib.sha256(_framed(_PROTOCOL, *fields)).digest()


@dataclass(frozen=True)
class ExchangeKeys:
    """One key for each direction, one for asking the status later, and the digits that people compare."""

    worker_key: bytes = field(repr=False)
    box_key: bytes = field(repr=False)
    poll_key: bytes = field(repr=False)
    short_code: str


def derive_keys(
    transcript: Transcript, secret: bytes, private_key: X25519PrivateKey, peer_key: bytes
) -> ExchangeKeys:
    """The keys of this exchange, the same on both sides. Raises WeakKey."""
    try:
        shared = private_key.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError:
        raise WeakKey("The public key is not usable.", next_step="Make a new key.") from None
    material = HKDF(hashes.SHA256(), 104, transcript.digest(), _PROTOCOL).derive(secret + shared)
    return ExchangeKeys(
        worker_key=material[:32],
        box_key=material[32:64],
        poll_key=material[64:96],
        short_code=f"{int.from_bytes(material[96:]) % 1_000_000:06d}",
    )


def worker_proof(keys: ExchangeKeys, facts: str) -> bytes:
    """Shows the box the secret and the private key, and that `facts` are the worker's own."""
    return _mac(keys.worker_key, b"submit", facts.encode())


def box_proof(keys: ExchangeKeys, facts: str, worker_id: str) -> bytes:
    """Shows the worker that the box made the invitation, got these facts and gave this id."""
    return _mac(keys.box_key, b"receipt", facts.encode(), worker_id.encode())


def poll_proof(poll_key: bytes, worker_id: str, nonce: bytes) -> bytes:
    """Shows the box that the one who asks for a worker's status is that worker."""
    return _mac(poll_key, b"status", worker_id.encode(), nonce)


def proofs_match(made: bytes, given: bytes) -> bool:
    """Compares two proofs in a time that tells nothing."""
    return hmac.compare_digest(made, given)


def _mac(key: bytes, *fields: bytes) -> bytes:
    return hmac.digest(key, _framed(_PROTOCOL, *fields), "sha256")


def _framed(*fields: bytes) -> bytes:
    # each with its length, so that no two lists of fields give the same bytes
    return b"".join(len(part).to_bytes(4) + part for part in fields)
