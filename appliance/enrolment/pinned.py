"""One HTTPS request to the box, whose certificate key is checked before the first byte is sent.

No certificate authority is asked: in an office LAN nobody vouches for the box but the invitation, which
holds the SHA-256 of its public key (the pinning of RFC 7469, section 2.4). TLS 1.3 then proves that the
other side owns that key.
"""

import hashlib
import hmac
import http.client
import json
import ssl
from contextlib import closing
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.errors import NotTrusted, Refused, TryAgain

Address = tuple[str, int]
"""Host and TCP port."""

NAME_FOR_WORKERS = "box.cellule.internal"
"""Asked for in TLS (RFC 6066, section 3): people may be shown a company's certificate with another key."""
_SHORTEST_PIN_BYTES = 16
_LONGEST_ANSWER_BYTES = 256 * 1024


class BoxUnreachable(TryAgain):
    """Nothing at the address speaks to us; the box may be off, or the address another."""

    code = "box_unreachable"
    http_status = 503


class BoxNotTrusted(NotTrusted):
    """The machine at the address is not the box that the pin names; nothing was sent to it."""

    code = "box_not_trusted"


class BoxRefused(Refused):
    """The box understood and said no, in its own words. `box_code` is the stable code of its refusal."""

    code = "box_refused"

    def __init__(self, sentence: str, *, box_code: str, status: int) -> None:
        super().__init__(sentence)
        self.box_code = box_code
        self.status = status


class BoxBusy(TryAgain):
    """The box wants the request repeated later."""

    code = "box_busy"
    http_status = 503


@dataclass(frozen=True)
class PinnedAnswer:
    """The body of a 200, and the whole SHA-256 (32 bytes) of the key that answered."""

    body: bytes
    pin: bytes


def pinned_post(
    address: Address, pin: bytes, path: str, body: str | bytes, *, timeout_seconds: float = 5.0
) -> PinnedAnswer:
    """Posts JSON to `path` of the box at `address`, if its key's SHA-256 starts with `pin` (16 to 32 bytes).

    `timeout_seconds` is for each wait on the network. Raises BoxUnreachable, BoxNotTrusted, BoxRefused
    (status 4xx) or BoxBusy (429, 5xx).
    """
    _check_length(pin)
    try:
        with closing(pinned_connection(address, pin, timeout_seconds=timeout_seconds)) as connection:
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read(_LONGEST_ANSWER_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: a host that is none
        raise box_unreachable(address, error) from error
    if response.status != http.client.OK:
        raise box_refusal(response.status, response.headers.get("retry-after"), answer)
    return PinnedAnswer(answer, connection.found_pin)


def pinned_connection(address: Address, pin: bytes, *, timeout_seconds: float = 5.0) -> "PinnedConnection":
    """Connected to the box at `address`, its key checked; to be closed. Raises OSError, BoxNotTrusted."""
    _check_length(pin)
    connection = PinnedConnection(*address, timeout=timeout_seconds)
    try:
        connection.connect()
        if not hmac.compare_digest(connection.found_pin[: len(pin)], pin):
            raise BoxNotTrusted(
                f"The machine at {address[0]} is not the box that made the invitation.",
                next_step="Give the box's address, or ask IT: somebody may be posing as it.",
            )
    except BaseException:
        connection.close()
        raise
    return connection


def box_unreachable(address: Address, error: Exception) -> BoxUnreachable:
    """The refusal for a box that did not answer."""
    return BoxUnreachable(
        f"The box at {address[0]} port {address[1]} can't be reached: {error}.",
        retry_after_seconds=5,
        next_step="Check that it is on and that this machine is in its network.",
    )


def _check_length(pin: bytes) -> None:
    if len(pin) < _SHORTEST_PIN_BYTES:
        raise ValueError(f"a pin has at least {_SHORTEST_PIN_BYTES} bytes, not {len(pin)}")


class PinnedConnection(http.client.HTTPConnection):
    """HTTPS that asks for the box's own certificate, whatever address it calls."""

    found_pin = b""
    """SHA-256 of the key that answered, once connected."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = _context().wrap_socket(self.sock, server_hostname=NAME_FOR_WORKERS)
        self.found_pin = _certificate_pin(self.sock)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_pin(sock: ssl.SSLSocket) -> bytes:
    encoded = sock.getpeercert(binary_form=True)
    try:
        key = x509.load_der_x509_certificate(encoded or b"").public_key()
    except ValueError:
        raise BoxNotTrusted("The machine that answered has no certificate that can be read.") from None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def box_refusal(status: int, retry_after: str | None, body: bytes) -> BoxRefused | BoxBusy:
    """What the box said with a status other than 200."""
    try:
        error = json.loads(body)["error"]
        sentence, box_code = str(error["message"]), str(error["code"])
    except (ValueError, KeyError, TypeError):
        sentence, box_code = f"The box answered with status {status}.", "unknown"
    if status == http.client.TOO_MANY_REQUESTS or status >= http.client.INTERNAL_SERVER_ERROR:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 5.0
        return BoxBusy(sentence, retry_after_seconds=seconds)
    return BoxRefused(sentence, box_code=box_code, status=status)
