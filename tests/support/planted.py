"""Every kind of secret that the product has, and every form in which one may stand in a text."""

import base64
import json
import secrets
import urllib.parse
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyrage.x25519 import Identity

from appliance.claim.code import make_claim_code
from appliance.enrolment.invitation_code import InvitationCode, format_code
from appliance.keeping.key import make_backup_key
from appliance.people import make_initial_password


def a_pem() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def a_recovery_key() -> str:
    """As systemd-cryptenroll makes one: 64 letters of modhex."""
    letters = "".join(secrets.choice("cbdefghijklnrtuv") for _ in range(64))
    return "-".join(letters[at : at + 8] for at in range(0, 64, 8))


KINDS: Mapping[str, Callable[[], str]] = {
    "api key": lambda: f"sk-cellule-{secrets.token_urlsafe(32)}",
    "pem": a_pem,
    "wireguard key": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "session cookie": lambda: f"cellule_session={secrets.token_urlsafe(32)}",
    "claim code": make_claim_code,
    "recovery key": a_recovery_key,
    "backup key": lambda: make_backup_key().text,
    "age identity": lambda: str(Identity.generate()),
    "invitation": lambda: format_code(
        InvitationCode(secrets.token_bytes(4), secrets.token_bytes(16), secrets.token_bytes(16))
    ),
    "initial password": lambda: make_initial_password("bob"),
    "e-mail": lambda: f"ana.{secrets.token_hex(4)}@example-company.fr",
}


def wrapped(text: str) -> str:
    """As a mail or a terminal does it, twelve characters in."""
    width = max(20, len(text) // 3)
    first = " " * 12 + text
    return "\n  ".join(first[at : at + width] for at in range(0, len(first), width))


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(f"?{text}".encode()).decode().rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(f"the key is {text} and".encode()).decode(),
    "url": lambda text: urllib.parse.quote(text, safe=""),
    "url all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "json": json.dumps,
    "json unicode": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "wrapped": wrapped,
    "hex": lambda text: f"key={text}".encode().hex(),
    "journal lines": lambda text: "\n".join(
        f"2026-11-21T04:43:05+00:00 cellule-core[12]: {line[at : at + 30]}"
        for line in text.splitlines()
        for at in range(0, len(line), 30)
    ),
    "quoted-printable": lambda text: "=\n".join(text[at : at + 20] for at in range(0, len(text), 20)),
}
