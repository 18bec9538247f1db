"""Where nightly backups go: a NAS folder by SMB, NFS or SFTP, or an S3 bucket, as an admin chose it.

A target holds no secret: the password or secret key lies in a file of its own beside the box's other secrets,
and the box signs in by SFTP with a key that it made. Every field is refused here unless it is plainly what it
says, for some of them end up in the arguments of programs and in the mount table of the system.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from appliance.host import Outbound
from appliance.private_file import replace, write_once
from appliance.settings import Settings
from appliance.storage import Choice

TARGET_SECRET_FILE = "backup-target-secret"  # noqa: S105  (its name)
SFTP_KEY_FILE = "backup-sftp-key"
KEPT_DAYS = 30
REASON_OUTBOUND = "backups"

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HostName = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""A name or an IPv4 address of the LAN."""
_PART = r"[A-Za-z0-9_À-ɏ]([A-Za-z0-9_. À-ɏ-]{0,62}[A-Za-z0-9_À-ɏ-])?"
FolderName = Annotated[str, StringConstraints(pattern=rf"^{_PART}(/{_PART}){{0,7}}$", max_length=200)]
"""Relative, with slashes between; no part begins with a dot or a dash."""
AbsoluteFolder = Annotated[str, StringConstraints(pattern=rf"^(/{_PART}){{1,8}}$", max_length=200)]
Account = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}$")]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""HH:MM in the box's time zone."""


class TargetKind(StrEnum):
    """How the box speaks to it."""

    SMB = "smb"
    NFS = "nfs"
    SFTP = "sftp"
    S3 = "s3"


class _Target(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class SmbTarget(_Target):
    """A shared folder of Windows, Samba or a NAS. Mounted by the host broker."""

    kind: Literal[TargetKind.SMB] = TargetKind.SMB
    host: HostName
    share: Annotated[str, StringConstraints(pattern=rf"^{_PART}\$?$", max_length=80)]
    folder: FolderName = "cellule"
    username: Account
    domain: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{0,64}$")] = ""
    port: Literal[445] = 445


class NfsTarget(_Target):
    """An export of an NFS server, version 4. Mounted by the host broker."""

    kind: Literal[TargetKind.NFS] = TargetKind.NFS
    host: HostName
    export: AbsoluteFolder
    folder: FolderName = "cellule"
    port: Literal[2049] = 2049


class SftpTarget(_Target):
    """A folder over SSH. `host_key` is what the server had when an admin confirmed it, "" before."""

    kind: Literal[TargetKind.SFTP] = TargetKind.SFTP
    host: HostName
    port: int = Field(default=22, ge=1, le=65535)
    username: Account
    folder: FolderName | AbsoluteFolder = "cellule"
    host_key: Annotated[str, StringConstraints(pattern=r"^([a-z0-9@.-]+ [A-Za-z0-9+/=]+)?$")] = ""


class S3Target(_Target):
    """A bucket of an S3 server. Without TLS only in the own network, which is for the admin to know."""

    kind: Literal[TargetKind.S3] = TargetKind.S3
    host: HostName
    port: int = Field(default=443, ge=1, le=65535)
    tls: bool = True
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    folder: FolderName = "cellule"
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    access_key_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    ca_pem: str = Field(default="", max_length=20_000)
    """The certificate (PEM) of the authority behind a server that public ones don't vouch for."""


Target = Annotated[SmbTarget | NfsTarget | SftpTarget | S3Target, Field(discriminator="kind")]


class BackupChoice(Choice):
    """When and where. `chosen_at` (epoch seconds) is when the target last changed."""

    target: Target | None = None
    nightly_at: ClockTime = "02:30"
    chosen_at: float = 0.0


class KeepingRequests(Choice):
    """What an admin asked the core to do now: epoch seconds of the last wish of each kind."""

    test_at: float = 0.0
    backup_at: float = 0.0
    drill_at: float = 0.0
    check_at: float = 0.0
    check_snapshot: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{8,64})?$")] = ""
    """What `check_at` is about."""

    @model_validator(mode="after")
    def _names_a_snapshot(self) -> Self:
        if self.check_at and not self.check_snapshot:
            raise ValueError("which snapshot is to be restored?")
        return self


def backup_outbound(choice: BackupChoice) -> tuple[Outbound, ...]:
    """The connections outward that the choice needs."""
    target = choice.target
    return () if target is None else (Outbound(host=target.host, port=target.port, why=REASON_OUTBOUND),)


def keep_target_secret(settings: Settings, secret: str) -> None:
    """The password (SMB) or secret key (S3) of the target, for the service user alone."""
    replace(settings.secrets_dir / TARGET_SECRET_FILE, secret.encode())


def target_secret(settings: Settings) -> str:
    """As kept; "" when there is none."""
    try:
        return (settings.secrets_dir / TARGET_SECRET_FILE).read_text()
    except FileNotFoundError:
        return ""


def sftp_public_key(settings: Settings) -> str:
    """The line for the server's authorized_keys. The key (Ed25519) is made at the first call."""
    made = write_once(
        settings.secrets_dir / SFTP_KEY_FILE,
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )
    public = load_ssh_private_key(made, password=None).public_key()
    return f"{public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} cellule-backup"
