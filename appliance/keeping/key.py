"""The backup key: 150 random bits that the owner keeps on paper, from which everything else is derived.

As people see it: eight groups of four characters of Crockford's base 32, the last two of them a checksum, so
that a slip of the pen is told before anything is tried. restic takes that text as its password; a file is
encrypted for the age identity derived from it (RFC 5869), so that `restic` and `age` alone can open what the
box wrote. The box keeps the key in a file of its own, for the nightly backup runs while nobody is there.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cached_property

import bech32
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pyrage.x25519 import Identity

from appliance.errors import NotTrusted, Refused
from appliance.private_file import replace, write_once
from appliance.settings import Settings

KEY_FILE = "backup-key"
FORMER_KEY_FILE = "backup-key.former"
CONFIRMED_FILE = "backup-key.confirmed"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOK_ALIKES = str.maketrans("OIL", "011")
_RANDOM_CHARACTERS = 30


class BackupKeyMistyped(Refused):
    """The text can't be any box's backup key: a character is wrong or missing."""

    code = "backup_key_mistyped"


class WrongBackupKey(NotTrusted):
    """A backup key, but not the one that this was encrypted with."""

    code = "wrong_backup_key"
    http_status = 403


@dataclass(frozen=True)
class BackupKey:
    """`text` is XXXX-XXXX-…, as it is shown and as restic takes it."""

    text: str

    @cached_property
    def identity(self) -> Identity:
        """The age identity (X25519) that opens files made with this key."""
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"cellule backup file").derive(self.text.encode())
        five_bits = bech32.convertbits(derived, 8, 5) or []
        return Identity.from_str(bech32.bech32_encode("age-secret-key-", five_bits).upper())

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell one key from another and nothing of the key itself."""
        return hashlib.sha256(str(self.identity.to_public()).encode()).hexdigest()[:8]

    def sheet(self) -> str:
        """A text file to keep: the key, and what opens the backups without any Cellule box."""
        return (
            f"# Cellule backup key {self.fingerprint}\n"
            f"# {self.text}\n"
            "# restic takes the line above as its password. A downloaded backup opens with this file:\n"
            "#   age --decrypt --identity THIS_FILE BACKUP.age | tar --extract --gzip\n"
            f"{self.identity}\n"
        )


def make_backup_key() -> BackupKey:
    """A fresh key, kept nowhere."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return BackupKey(_grouped(body + _checksum(body)))


def parse_backup_key(typed: str) -> BackupKey:
    """A key as people type it: any case, spaces for dashes, O for 0, I or L for 1; or its whole sheet.

    Raises BackupKeyMistyped.
    """
    for line in typed.splitlines():
        plain = re.sub(r"[\s#-]", "", line.upper()).translate(_LOOK_ALIKES)
        body, check = plain[:_RANDOM_CHARACTERS], plain[_RANDOM_CHARACTERS:]
        if len(body) == _RANDOM_CHARACTERS and check == _checksum(body):
            return BackupKey(_grouped(plain))
    raise BackupKeyMistyped(
        "This is not a backup key: a character is wrong or missing.",
        next_step="It has eight groups of four letters and digits.",
        param="backup_key",
    )


def backup_key(settings: Settings) -> BackupKey:
    """The box's key, made at the first call."""
    made = write_once(settings.secrets_dir / KEY_FILE, f"{make_backup_key().text}\n".encode())
    return parse_backup_key(made.decode())


def former_backup_key(settings: Settings) -> BackupKey | None:
    """The key that a target may still have, until a backup with the present one has gone through."""
    try:
        return parse_backup_key((settings.secrets_dir / FORMER_KEY_FILE).read_text())
    except FileNotFoundError:
        return None


def is_backup_key_confirmed(settings: Settings) -> bool:
    """Whether somebody has proven to have the present key in hand."""
    try:
        confirmed = (settings.secrets_dir / CONFIRMED_FILE).read_text().strip()
    except FileNotFoundError:
        return False
    return confirmed == backup_key(settings).fingerprint


def confirm_backup_key(settings: Settings, typed: str) -> None:
    """From now on the key isn't shown any more. Raises BackupKeyMistyped, WrongBackupKey."""
    key = backup_key(settings)
    if not hmac.compare_digest(parse_backup_key(typed).text, key.text):
        raise WrongBackupKey("This is not the backup key of this box.", param="backup_key")
    replace(settings.secrets_dir / CONFIRMED_FILE, f"{key.fingerprint}\n".encode())


def replace_backup_key(settings: Settings) -> BackupKey:
    """A new key, unconfirmed. The nightly target takes it at the next backup; files keep theirs."""
    former = settings.secrets_dir / FORMER_KEY_FILE
    if not former.exists():
        # with two changes before a backup went through, the target still has the first one
        write_once(former, f"{backup_key(settings).text}\n".encode())
    fresh = make_backup_key()
    adopt_backup_key(settings, fresh)
    return fresh


def adopt_backup_key(settings: Settings, key: BackupKey) -> None:
    """Makes `key` the box's own."""
    replace(settings.secrets_dir / KEY_FILE, f"{key.text}\n".encode())


def _checksum(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(body.encode()).digest()[:2], "big")
    return _ALPHABET[number >> 5 & 31] + _ALPHABET[number & 31]


def _grouped(plain: str) -> str:
    return "-".join(plain[at : at + 4] for at in range(0, len(plain), 4))
