"""Challenges that were given out and not yet answered: each is good once, for half a minute.

They live in memory only: after a restart the worker asks for a new one. When there are too many, the
oldest is dropped; to push out one that is being answered, somebody would have to ask for ten thousand in
the few milliseconds that an answer takes.
"""

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.enrolment.contract import Challenge, Hello

VALID_SECONDS = 30.0
MOST_OPEN = 10_000


@dataclass(frozen=True)
class OpenChallenge:
    """What the box remembers between hello and submit."""

    hello: Hello
    private_key: X25519PrivateKey
    nonce: bytes
    expires_at: float


class Challenges:
    """For one thread. `at` is in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        # in order of expiry, for all live equally long
        self._open: dict[bytes, OpenChallenge] = {}

    def give(self, hello: Hello, at: float) -> Challenge:
        """A fresh challenge for `hello`."""
        self._drop_old(at)
        challenge_id, nonce = secrets.token_bytes(16), secrets.token_bytes(16)
        key = X25519PrivateKey.generate()
        self._open[challenge_id] = OpenChallenge(hello, key, nonce, at + VALID_SECONDS)
        return Challenge(
            challenge_id=challenge_id, ephemeral_key=key.public_key().public_bytes_raw(), nonce=nonce
        )

    def take(self, challenge_id: bytes, at: float) -> OpenChallenge | None:
        """The challenge, which is spent from now on; None if it is unknown, spent or too old."""
        self._drop_old(at)
        return self._open.pop(challenge_id, None)

    def _drop_old(self, at: float) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if self._open[oldest].expires_at > at and len(self._open) < MOST_OPEN:
                return
            del self._open[oldest]
