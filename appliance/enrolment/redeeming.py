"""The worker's side of enrolment: redeem a code, then ask until an admin has decided.

A key pair belongs to one invitation: keep the private key with the code and repeat `redeem` with the same
one when an answer was lost (the box then gives the same worker id); make a new one for a new code. What
leaves this machine: its public key, its facts and proofs, and only to a box whose key the code pins.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from appliance.enrolment.contract import (
    HELLO_PATH,
    STATUS_PATH,
    SUBMIT_PATH,
    Challenge,
    Hello,
    Message,
    Receipt,
    StatusAnswer,
    StatusRequest,
    Submission,
    WorkerConfig,
    WorkerFacts,
    WorkerState,
)
from appliance.enrolment.exchange import (
    Transcript,
    box_proof,
    derive_keys,
    poll_proof,
    proofs_match,
    worker_proof,
)
from appliance.enrolment.invitation_code import InvitationCode, parse_code
from appliance.enrolment.pinned import Address, BoxNotTrusted, BoxUnreachable, PinnedAnswer, pinned_post

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Redemption:
    """What the worker keeps. `pin` is now the whole SHA-256 of the box's certificate key (32 bytes)."""

    worker_id: str
    short_code: str
    poll_key: bytes = field(repr=False)
    pin: bytes
    address: Address


@dataclass(frozen=True)
class Pending:
    """No admin has decided yet; ask again in a few seconds."""


@dataclass(frozen=True)
class Approved:
    """The worker belongs to the fleet."""

    config: WorkerConfig


@dataclass(frozen=True)
class Revoked:
    """Refused, or taken out of the fleet; final."""


def redeem(
    code: str, private_key: X25519PrivateKey, facts: WorkerFacts, addresses: Iterable[Address]
) -> Redemption:
    """Redeems `code` at the first of `addresses` that is the box which made it.

    `addresses` are candidates, tried as they come (a lazy iterable is fine); one that is silent or not the
    box costs time and nothing else. Raises InvitationMistyped (before anything is sent), BoxUnreachable,
    BoxNotTrusted (something answered, but never the box), BoxRefused and BoxBusy.
    """
    invitation = parse_code(code)
    failure: BoxUnreachable | BoxNotTrusted = BoxUnreachable(
        "No box was found in this network.", retry_after_seconds=5, next_step="Give its address."
    )
    try:
        for address in addresses:
            try:
                return _redeem_at(address, invitation, private_key, facts)
            except BoxNotTrusted as error:
                failure = error
            except BoxUnreachable as error:
                # that somebody poses as the box is worth more to hear than that another address is silent
                failure = failure if isinstance(failure, BoxNotTrusted) else error
        raise failure
    finally:
        # it holds this frame, which holds `addresses`: a search of the LAN would go on until collected
        del failure


def poll_status(
    address: Address, pin: bytes, worker_id: str, poll_key: bytes
) -> Pending | Approved | Revoked:
    """Where the worker stands now. Raises BoxUnreachable, BoxNotTrusted, BoxRefused and BoxBusy."""
    nonce = secrets.token_bytes(16)
    request = StatusRequest(worker_id=worker_id, nonce=nonce, mac=poll_proof(poll_key, worker_id, nonce))
    answer = _read(StatusAnswer, _post(address, pin, STATUS_PATH, request))
    match answer.state:
        case WorkerState.PENDING:
            return Pending()
        case WorkerState.REVOKED:
            return Revoked()
        case WorkerState.APPROVED:
            if answer.config is None:
                raise BoxUnreachable("The box gave no configuration.", retry_after_seconds=5)
            return Approved(answer.config)
    assert_never(answer.state)


def _redeem_at(
    address: Address, invitation: InvitationCode, private_key: X25519PrivateKey, facts: WorkerFacts
) -> Redemption:
    public_key, nonce = private_key.public_key().public_bytes_raw(), secrets.token_bytes(16)
    hello = Hello(invitation_id=invitation.id, public_key=public_key, nonce=nonce)
    answer = _post(address, invitation.pin, HELLO_PATH, hello)
    challenge, pin = _read(Challenge, answer), answer.pin
    transcript = Transcript(
        pin=pin,
        invitation_id=invitation.id,
        public_key=public_key,
        nonce=nonce,
        ephemeral_key=challenge.ephemeral_key,
        box_nonce=challenge.nonce,
    )
    keys = derive_keys(transcript, invitation.secret, private_key, challenge.ephemeral_key)
    text = facts.model_dump_json()
    submission = Submission(challenge_id=challenge.challenge_id, facts=text, mac=worker_proof(keys, text))
    # from here on the whole pin counts, of which the code could hold only a half
    receipt = _read(Receipt, _post(address, pin, SUBMIT_PATH, submission))
    if not proofs_match(box_proof(keys, text, receipt.worker_id), receipt.mac):
        raise BoxNotTrusted("The box could not prove that it made the invitation.", next_step="Ask IT.")
    return Redemption(receipt.worker_id, keys.short_code, keys.poll_key, pin, address)


def _post(address: Address, pin: bytes, path: str, message: Message) -> PinnedAnswer:
    return pinned_post(address, pin, path, message.model_dump_json())


def _read(kind: type[M], answer: PinnedAnswer) -> M:
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError:
        raise BoxUnreachable(
            "The box gave an answer that this version can't read.", retry_after_seconds=5
        ) from None
