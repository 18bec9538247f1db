"""A backup as one file: tar.gz inside age, for the backup key. `age` and `tar` alone can open it.

age encrypts in authenticated pieces of 64 KiB (age-encryption.org/v1), so what was cut short or altered is
refused, never taken for a shorter backup. What a stranger packed must not leave the folder it is unpacked in:
only plain files with a modest relative path are accepted, and no more bytes than there is room for.
"""

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

import pyrage
from pyrage.x25519 import Recipient

from appliance.keeping.key import BackupKey, WrongBackupKey
from appliance.keeping.places import require_space
from appliance.keeping.snapshot import BackupDamaged, PackedFile


def write_archive(folder: Path, target: Path, recipient: str) -> None:
    """Packs a snapshot into `target`, mode 0600, for age's `recipient`. Raises NotEnoughSpace first."""
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    require_space(target.parent, 2 * size_bytes)
    with tempfile.TemporaryFile(dir=target.parent) as plain:
        with tarfile.open(fileobj=plain, mode="w:gz", compresslevel=3) as tar:
            tar.add(folder, arcname=".", filter=_anonymous)
        plain.seek(0)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            pyrage.encrypt_io(plain, file, [Recipient.from_str(recipient)])


def read_archive(source: IO[bytes], folder: Path, key: BackupKey) -> None:
    """Unpacks into the empty `folder`. Raises WrongBackupKey, BackupDamaged, NotEnoughSpace."""
    with tempfile.TemporaryFile(dir=folder.parent) as plain:
        try:
            pyrage.decrypt_io(source, plain, [key.identity])
        except pyrage.DecryptError as error:
            raise _undecryptable(error) from error
        except OSError as error:
            if error.errno is not None:
                raise
            # how the library tells that a piece isn't authentic, or that the end is missing
            raise _undecryptable(error) from error
        plain.seek(0)
        try:
            with tarfile.open(fileobj=plain, mode="r:gz") as tar:
                _unpack(tar, folder)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged("what is in it can't be unpacked") from error


def _undecryptable(error: Exception) -> WrongBackupKey | BackupDamaged:
    words = str(error).lower()
    if "no matching keys" in words:
        return WrongBackupKey(
            "This file was encrypted with another backup key.",
            next_step="Its name ends with the fingerprint of the key that opens it.",
            param="backup_key",
        )
    return _damaged("it is not a backup, or was cut short or altered")


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    members = [member for member in tar if not member.isdir()]
    require_space(folder, sum(member.size for member in members))
    for member in members:
        name = member.name.removeprefix("./")
        content = tar.extractfile(member) if member.isreg() and _is_modest(name) else None
        if content is None:
            raise _damaged("it holds what no backup holds")
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            shutil.copyfileobj(content, file)


def _is_modest(name: str) -> bool:
    try:
        PackedFile(path=name, size_bytes=0, sha256="")
    except ValueError:
        return False
    return True


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _damaged(what: str) -> BackupDamaged:
    return BackupDamaged(
        f"This backup is damaged: {what}.", next_step="Take another one. Nothing was changed on this box."
    )
