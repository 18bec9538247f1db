"""Both sides derive the same keys, and nobody else does: every part of the transcript counts."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.enrolment.exchange import (
    ExchangeKeys,
    Transcript,
    WeakKey,
    box_proof,
    derive_keys,
    poll_proof,
    worker_proof,
)

WORKER, BOX = (X25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
SECRET = bytes(range(16))
TRANSCRIPT = Transcript(
    pin=b"p" * 32,
    invitation_id=b"i" * 4,
    public_key=WORKER.public_key().public_bytes_raw(),
    nonce=b"n" * 16,
    ephemeral_key=BOX.public_key().public_bytes_raw(),
    box_nonce=b"b" * 16,
)


def of_worker(transcript: Transcript = TRANSCRIPT, secret: bytes = SECRET) -> ExchangeKeys:
    return derive_keys(transcript, secret, WORKER, BOX.public_key().public_bytes_raw())


def test_both_sides_agree() -> None:
    of_box = derive_keys(TRANSCRIPT, SECRET, BOX, WORKER.public_key().public_bytes_raw())
    assert of_box == of_worker()
    assert len(of_box.short_code) == 6 and of_box.short_code.isdecimal()
    assert len({of_box.worker_key, of_box.box_key, of_box.poll_key}) == 3


@settings(max_examples=60)
@given(
    st.sampled_from(["pin", "invitation_id", "public_key", "nonce", "ephemeral_key", "box_nonce"]),
    st.integers(min_value=0, max_value=255),
)
def test_every_bit_of_the_transcript_counts(field: str, bit: int) -> None:
    value = bytearray(getattr(TRANSCRIPT, field))
    value[bit // 8 % len(value)] ^= 1 << bit % 8
    other = of_worker(replace(TRANSCRIPT, **{field: bytes(value)}))
    assert other.worker_key != of_worker().worker_key
    assert other.poll_key != of_worker().poll_key


def test_the_secret_and_the_private_key_count() -> None:
    assert of_worker(secret=bytes(16)).worker_key != of_worker().worker_key
    stranger = X25519PrivateKey.generate()
    keys = derive_keys(TRANSCRIPT, SECRET, stranger, BOX.public_key().public_bytes_raw())
    assert keys.worker_key != of_worker().worker_key


@given(st.text(), st.text())
def test_a_proof_is_for_one_text(one: str, other: str) -> None:
    keys = of_worker()
    assert (worker_proof(keys, one) == worker_proof(keys, other)) is (one == other)
    assert box_proof(keys, one, other) != worker_proof(keys, one)
    assert (box_proof(keys, one, other) == box_proof(keys, other, one)) is (one == other)


def test_a_poll_proof_is_for_one_worker_and_nonce() -> None:
    proofs = {poll_proof(b"k" * 32, worker, nonce) for worker in "ab" for nonce in (b"1" * 16, b"2" * 16)}
    assert len(proofs) == 4


# the points of small order, RFC 7748 section 6.1 and cr.yp.to/ecdh.html
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@pytest.mark.parametrize("key", LOW_ORDER, ids=lambda key: key.hex()[:6])
def test_keys_of_low_order_are_refused(key: bytes) -> None:
    with pytest.raises(WeakKey):
        derive_keys(TRANSCRIPT, SECRET, WORKER, key)


def test_keys_are_not_in_the_repr() -> None:
    assert of_worker().poll_key.hex() not in repr(of_worker()) and "poll_key" not in repr(of_worker())
