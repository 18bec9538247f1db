"""The backup key: 150 random bits that the owner keeps on paper and the box does not keep at all.

As people see it: eight groups of four characters of Crockford's base 32, the last two of them a checksum, so
that a slip of the pen is told before anything is tried. Two things are derived from it (RFC 5869): restic's
password, which the box keeps so that it can back up while nobody is there, and an age identity, of which it
keeps the public half alone. So a downloaded file, and the sealed tunnel key, open with the paper only.

Order: `backup_key` offers a key and shows it until `confirm_backup_key` proves that somebody has it in hand;
from then on it counts, and what the box has of it can't be turned back into it.
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

OFFERED_FILE = "backup-key"
RECIPIENT_FILE = "backup-recipient"
PASSWORD_FILE = "backup-password"  # noqa: S105  (its name)
FORMER_PASSWORD_FILE = "backup-password.former"  # noqa: S105
GIVEN_FILE = "backup-key.given"
GIVEN_SECONDS = 3600.0
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


class NoBackupKey(Refused):
    """Nobody has confirmed a backup key: what is encrypted now could never be opened."""

    code = "no_backup_key"
    http_status = 409


@dataclass(frozen=True)
class BackupKey:
    """`text` is XXXX-XXXX-…, as it is shown."""

    text: str

    @cached_property
    def identity(self) -> Identity:
        """The age identity (X25519) that opens files made for this key."""
        five_bits = bech32.convertbits(self._derived(b"cellule backup file"), 8, 5) or []
        return Identity.from_str(bech32.bech32_encode("age-secret-key-", five_bits).upper())

    @property
    def recipient(self) -> str:
        """The public half of `identity`: age1…"""
        return str(self.identity.to_public())

    @property
    def password(self) -> str:
        """What restic takes."""
        return self._derived(b"cellule backup repository").hex()

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell one key from another and nothing of the key itself."""
        return fingerprint_of(self.recipient)

    def sheet(self) -> str:
        """A text file to keep: the key, and what opens the backups without any Cellule box."""
        return (
            f"# Cellule backup key {self.fingerprint}\n"
            f"# {self.text}\n"
            "#\n"
            "# Without a Cellule box. A downloaded backup opens with this file:\n"
            "#   age --decrypt --identity THIS_FILE BACKUP.age | tar --extract --gzip\n"
            "# The nightly backups are a restic repository with the password\n"
            f"#   {self.password}\n"
            f"{self.identity}\n"
        )

    def _derived(self, purpose: bytes) -> bytes:
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose).derive(self.text.encode())


def fingerprint_of(recipient: str) -> str:
    """Of the key behind a public half."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:8]


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


def backup_key(settings: Settings) -> BackupKey | None:
    """The key that is offered and waits to be confirmed, made if the box has none; None once one counts."""
    if is_backup_key_confirmed(settings) and not (settings.secrets_dir / OFFERED_FILE).exists():
        return None
    return _offer(settings, make_backup_key())


def offer_new_backup_key(settings: Settings) -> BackupKey:
    """A key to follow the one that counts, which goes on counting until the new one is confirmed."""
    return _offer(settings, make_backup_key())


def is_backup_key_confirmed(settings: Settings) -> bool:
    """Whether a key counts: backups can be made, and somebody can open them."""
    return (settings.secrets_dir / RECIPIENT_FILE).exists()


def confirm_backup_key(settings: Settings, typed: str) -> None:
    """The offered key counts and isn't shown any more; the nightly target takes it at the next backup.

    Raises BackupKeyMistyped, WrongBackupKey.
    """
    given, offered = parse_backup_key(typed), backup_key(settings)
    if offered is None or not hmac.compare_digest(given.text, offered.text):
        raise WrongBackupKey("This is not the backup key that is shown.", param="backup_key")
    adopt_backup_key(settings, offered)


def adopt_backup_key(settings: Settings, key: BackupKey) -> None:
    """Makes `key` the box's own."""
    password = settings.secrets_dir / PASSWORD_FILE
    if password.exists() and password.read_text() != key.password:
        # with two changes before a backup went through, the target still has the first one
        write_once(settings.secrets_dir / FORMER_PASSWORD_FILE, password.read_bytes())
    for name, content in kept_of(key).items():
        replace(settings.secrets_dir / name, content.encode())
    (settings.secrets_dir / OFFERED_FILE).unlink(missing_ok=True)


def give_backup_key(settings: Settings, key: BackupKey) -> None:
    """The owner hands the key over for one restore; it becomes the box's own if it wasn't."""
    adopt_backup_key(settings, key)
    replace(settings.secrets_dir / GIVEN_FILE, key.text.encode())


def take_given_key(settings: Settings) -> BackupKey | None:
    """The key that was handed over, once; None when none was."""
    given = settings.secrets_dir / GIVEN_FILE
    try:
        key = parse_backup_key(given.read_text())
    except FileNotFoundError:
        return None
    given.unlink()
    return key


def forget_given_key(settings: Settings, at: float) -> None:
    """A key that was handed over an hour ago, and not used, is not kept for another day."""
    given = settings.secrets_dir / GIVEN_FILE
    if given.exists() and at - given.stat().st_mtime > GIVEN_SECONDS:
        given.unlink()


def kept_of(key: BackupKey) -> dict[str, str]:
    """The files of the secrets folder that hold what the box keeps of `key`."""
    return {PASSWORD_FILE: key.password, RECIPIENT_FILE: key.recipient}


def backup_recipient(settings: Settings) -> str:
    """The public half of the key that counts. Raises NoBackupKey."""
    try:
        return (settings.secrets_dir / RECIPIENT_FILE).read_text()
    except FileNotFoundError:
        raise NoBackupKey(
            "Nobody has confirmed the backup key.", next_step="Keep the backup key, then type it back."
        ) from None


def _offer(settings: Settings, key: BackupKey) -> BackupKey:
    made = write_once(settings.secrets_dir / OFFERED_FILE, f"{key.text}\n".encode())
    return parse_backup_key(made.decode())


def _checksum(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(body.encode()).digest()[:2], "big")
    return _ALPHABET[number >> 5 & 31] + _ALPHABET[number & 31]


def _grouped(plain: str) -> str:
    return "-".join(plain[at : at + 4] for at in range(0, len(plain), 4))
