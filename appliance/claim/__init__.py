"""First boot: from a box that belongs to nobody to one with its first admin."""

from appliance.claim.authority import authority_fingerprint, authority_path
from appliance.claim.certificate import Certificate, certificate_pin, ensure_certificate
from appliance.claim.claiming import (
    AlreadyClaimed,
    WrongClaimCode,
    check_claim_code,
    claim_box,
    ensure_claim_code,
    is_claimed,
)
from appliance.claim.code import read_claim_code
from appliance.claim.names import box_names
from appliance.claim.setup import SetupChoice, following, open_steps

__all__ = [
    "AlreadyClaimed",
    "Certificate",
    "SetupChoice",
    "WrongClaimCode",
    "authority_fingerprint",
    "authority_path",
    "box_names",
    "certificate_pin",
    "check_claim_code",
    "claim_box",
    "ensure_certificate",
    "ensure_claim_code",
    "following",
    "is_claimed",
    "open_steps",
    "read_claim_code",
]
