"""The vendor's request for a session: one block of text that the admin pastes. Pure.

    -----BEGIN CELLULE SUPPORT REQUEST-----
    base64 of the JSON of `SessionRequest`
    base64 of its Ed25519 signature by the vendor's support key
    -----END CELLULE SUPPORT REQUEST-----

A block counts once (its id), for a short while (its times), and only with the vendor's signature; nothing in
it is secret. What the vendor needs back, the box's one-time tunnel key, is the answer.
"""

import base64
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.errors import NotTrusted, Refused
from appliance.host.plan import Endpoint, PublicKey

REQUEST_HEAD = "-----BEGIN CELLULE SUPPORT REQUEST-----"
REQUEST_END = "-----END CELLULE SUPPORT REQUEST-----"
ANSWER_WORD = "cellule-support-answer"
LONGEST_REQUEST_CHARACTERS = 8000
LONGEST_VALIDITY_SECONDS = 7 * 24 * 3600.0
CLOCK_SLACK_SECONDS = 300.0
"""How far ahead of the box's clock the vendor's may be."""
_CONTEXT = b"cellule support request 1\0"


class RequestUnreadable(Refused):
    """Not a request block, or not all of it."""

    code = "support_request_unreadable"


class RequestNotTrusted(NotTrusted):
    """Not signed by the vendor, or changed after it was."""

    code = "support_request_not_trusted"
    http_status = 403


class RequestOutOfTime(NotTrusted):
    """By the box's clock the request is over, or not valid yet. `clock_at` is what that clock says."""

    code = "support_request_out_of_time"
    http_status = 403

    def __init__(self, sentence: str, *, clock_at: float) -> None:
        super().__init__(
            sentence,
            next_step="If the box's clock is right, ask the vendor for a new request.",
            param="request",
        )
        self.clock_at = clock_at


class SessionRequest(BaseModel):
    """What the vendor asks for. Times are epoch seconds; keys are base64, the tunnel's are WireGuard's."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    version: Literal[1] = 1
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    issued_at: float = Field(ge=0, allow_inf_nan=False)
    expires_at: float = Field(ge=0, allow_inf_nan=False)
    engineer: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
    """Who at the vendor will do the work; shown to the admin and written into the audit trail."""
    endpoint: Endpoint
    tunnel_key: PublicKey
    command_key: PublicKey
    """Ed25519, for this session only: every command is signed with it. 32 bytes in base64, as the other."""
    vendor_address: IPv4Address
    box_address: IPv4Address

    @model_validator(mode="after")
    def _is_sane(self) -> Self:
        if not 0 < self.expires_at - self.issued_at <= LONGEST_VALIDITY_SECONDS:
            raise ValueError("a request is valid for at most 7 days")
        if self.vendor_address == self.box_address:
            raise ValueError("the two ends of the tunnel need addresses of their own")
        return self

    @property
    def command_public_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(self.command_key))


def sign_request(request: SessionRequest, key: Ed25519PrivateKey) -> str:
    """The block of text. Used by the vendor."""
    payload = request.model_dump_json().encode()
    lines = (base64.b64encode(part).decode() for part in (payload, key.sign(_CONTEXT + payload)))
    return "\n".join((REQUEST_HEAD, *lines, REQUEST_END)) + "\n"


def read_request(text: str, signing_key: Ed25519PublicKey, now: float) -> SessionRequest:
    """The request in a pasted text, whatever stands around the block and however its lines are wrapped.

    Raises RequestUnreadable, RequestNotTrusted, RequestOutOfTime.
    """
    payload, signature = _parts(text)
    try:
        signing_key.verify(signature, _CONTEXT + payload)
    except InvalidSignature:
        raise RequestNotTrusted(
            "This request was not made by the vendor, or it was changed on its way.",
            next_step="Do not open a session with it. Ask your vendor whether it is theirs.",
            param="request",
        ) from None
    try:
        request = SessionRequest.model_validate_json(payload)
    except ValidationError as error:
        raise RequestUnreadable(
            "The vendor's request is of a kind that this version does not know.",
            next_step="Tell the vendor which version the box runs.",
            param="request",
        ) from error
    _check_time(request, now)
    return request


def answer_text(request_id: str, box_key: str) -> str:
    """What the admin gives back: which request was accepted, and the box's one-time tunnel key."""
    return f"{ANSWER_WORD} {request_id} {box_key}"


def read_answer(text: str, request_id: str) -> str:
    """The box's tunnel key in an answer to `request_id`. Raises RequestUnreadable. Used by the vendor."""
    found = re.search(rf"{ANSWER_WORD}\s+([0-9a-f]{{32}})\s+([A-Za-z0-9+/]{{43}}=)", text)
    if found is None:
        raise RequestUnreadable("This is not a box's answer.", next_step="Ask for the whole line.")
    if found[1] != request_id:
        raise RequestUnreadable(
            "This is the answer to another request.", next_step="Use that request's file."
        )
    return found[2]


def _parts(text: str) -> tuple[bytes, bytes]:
    inside, end, _ = text[:LONGEST_REQUEST_CHARACTERS].partition(REQUEST_HEAD)[2].partition(REQUEST_END)
    # mail programs wrap lines and quote them
    plain = re.sub(r"[\s>]+", "", inside) if end else ""
    try:
        # an Ed25519 signature has 64 bytes: 88 characters
        payload, signature = (base64.b64decode(part, validate=True) for part in (plain[:-88], plain[-88:]))
    except ValueError:
        payload = signature = b""
    if not payload or not signature:
        raise RequestUnreadable(
            "This is not a whole request of the vendor.",
            next_step=f"Paste all of it, from {REQUEST_HEAD} to {REQUEST_END}.",
            param="request",
        )
    return payload, signature


def _check_time(request: SessionRequest, now: float) -> None:
    if request.issued_at - CLOCK_SLACK_SECONDS <= now < request.expires_at:
        return
    what = "is over" if now >= request.expires_at else "is not valid yet"
    raise RequestOutOfTime(
        f"The request {what}: it is valid from {_time(request.issued_at)} to {_time(request.expires_at)}, "
        f"and the box's clock says {_time(now)}.",
        clock_at=now,
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
