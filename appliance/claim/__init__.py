"""First boot: from a box that belongs to nobody to one with its first admin."""

from appliance.claim.authority import authority_fingerprint, authority_path
from appliance.claim.certificate import Certificate, certificate_pin, ensure_certificate
from appliance.claim.claiming import (
    AlreadyClaimed,
    WrongClaimCode,
    claim_box,
    ensure_claim_code,
    is_claimed,
)
from appliance.claim.code import read_claim_code

__all__ = [
    "AlreadyClaimed",
    "Certificate",
    "WrongClaimCode",
    "authority_fingerprint",
    "authority_path",
    "certificate_pin",
    "claim_box",
    "ensure_certificate",
    "ensure_claim_code",
    "is_claimed",
    "read_claim_code",
]
