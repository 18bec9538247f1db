"""What a backup is made of: taken while the box runs, described by a manifest, checked before it is used.

A snapshot folder holds `manifest.json`, both database files, `secrets/…`, the plan of the machine and the
sealed key of its tunnels; neither models nor logs. Databases are copied by SQLite in one read transaction:
writers go on, and the copy is one moment of both file and write-ahead log. A snapshot is good when each file
has the size and hash that the manifest names, SQLite finds no damage, and this version knows the schemas.
"""

import hashlib
import os
import platform
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.clock import Clock, now
from appliance.errors import Broken, Refused
from appliance.keeping.key import GIVEN_FILE, OFFERED_FILE, backup_recipient, fingerprint_of
from appliance.keeping.places import require_space
from appliance.settings import Settings
from appliance.storage import DATABASE_FILES, check_schemas, open_activity, open_cellule
from appliance.storage.migrating import read_records

FORMAT = 1
MANIFEST = "manifest.json"
SECRETS = "secrets"
NOT_KEPT = {"claim-code", "demo-api-key", OFFERED_FILE, GIVEN_FILE, "wireguard.key"}
"""Secrets that belong to the moment or to the machine; the key of the tunnels is in a backup, sealed."""


class DatabaseDamaged(Broken):
    """SQLite finds a database file damaged. The backups made before are kept as they are."""

    code = "database_damaged"


class BackupDamaged(Refused):
    """What was unpacked is not what the box packed."""

    code = "backup_damaged"


class BackupTooNew(Refused):
    """The backup is laid out in a way that this version doesn't know."""

    code = "backup_too_new"


class PackedFile(BaseModel):
    """A file of a snapshot; `path` is relative to it, `sha256` in hex."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    path: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}$")
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a snapshot is, for people who choose one and for the check. Times are epoch seconds."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    format: int = FORMAT
    box: str
    version: str
    made_at: float
    key_fingerprint: str
    accounts: int
    api_keys: int
    workers: int
    schemas: dict[str, tuple[str, ...]]
    files: tuple[PackedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def snapshot_bytes(settings: Settings) -> int:
    """How large a snapshot of the box would be now, at most."""
    databases = [settings.state_dir / f"{name}{end}" for name in DATABASE_FILES for end in ("", "-wal")]
    return sum(path.stat().st_size for path in [*databases, *_secrets(settings)] if path.exists())


def take_snapshot(
    settings: Settings, folder: Path, *, from_host: Mapping[str, str] | None = None, clock: Clock = now
) -> Manifest:
    """Fills the empty `folder`; `from_host` is what `identity.read_identity` read, by file name.

    Raises NoBackupKey and NotEnoughSpace before anything is written, DatabaseDamaged.
    """
    recipient = backup_recipient(settings)
    require_space(folder, snapshot_bytes(settings))
    for name in DATABASE_FILES:
        _copy_database(settings.state_dir / name, folder / name)
    for secret in _secrets(settings):
        copy = folder / SECRETS / secret.relative_to(settings.secrets_dir)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(secret, copy)
    for name, content in (from_host or {}).items():
        (folder / name).write_text(content)
    manifest = _describe(folder, fingerprint_of(recipient), clock())
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))
    return manifest


def check_snapshot(folder: Path) -> Manifest:
    """Changes nothing. Raises BackupDamaged, BackupTooNew, SchemaTooNew, each before anything was used."""
    manifest = read_manifest(folder)
    listed = {file.path for file in manifest.files}
    found = {str(path.relative_to(folder)) for path in _files(folder)} - {MANIFEST}
    if missing := sorted(set(DATABASE_FILES) - listed) or sorted(listed ^ found):
        raise _damaged(f"{', '.join(missing[:3])} is missing or doesn't belong to it")
    for file in manifest.files:
        if (folder / file.path).stat().st_size != file.size_bytes or _hash(folder / file.path) != file.sha256:
            raise _damaged(f"{file.path} is not as it was packed")
    for name in DATABASE_FILES:
        if trouble := _trouble_in(folder / name):
            raise _damaged(f"{name}: {trouble}")
    check_schemas(folder)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an unpacked snapshot. Raises BackupDamaged, BackupTooNew."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise _damaged("it has no readable manifest") from None
    if manifest.format > FORMAT:
        raise BackupTooNew(
            f"This backup was made by a newer version of Cellule ({manifest.version}).",
            next_step="Update this box first, then restore.",
        )
    return manifest


def prove(folder: Path) -> int:
    """Opens a checked snapshot as the product does, migrating it; returns its number of accounts.

    Raises BackupDamaged when it doesn't hold what its manifest names. `folder` is of no other use after.
    """
    manifest = read_manifest(folder)
    try:
        with open_cellule(folder) as database, open_activity(folder) as activity:
            accounts = _count(database.conn, "accounts")
            activity.execute("SELECT count(*) FROM ledger").fetchone()
    except sqlite3.Error as error:
        raise _damaged(str(error)) from error
    if accounts != manifest.accounts:
        raise _damaged(f"it has {accounts} accounts, and should have {manifest.accounts}")
    return accounts


def product_version() -> str:
    """The running release; "development" where there is no image."""
    return platform.freedesktop_os_release().get("IMAGE_VERSION", "development")


def _copy_database(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as running,
            closing(sqlite3.connect(target)) as copy,
        ):
            # all pages in one step: a copy in portions would start anew at each write of the running box
            running.backup(copy, pages=-1)
            # one file without a log, the same bytes for the same content
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.DatabaseError as error:
        raise _database_damaged(source.name, str(error)) from error
    target.chmod(0o600)
    if trouble := _trouble_in(target):
        raise _database_damaged(source.name, trouble)


def _database_damaged(name: str, trouble: str) -> DatabaseDamaged:
    return DatabaseDamaged(
        f"{name} is damaged: {trouble}. No backup was made of it; the earlier ones are as they were.",
        next_step="Restore the last good backup.",
    )


def _describe(folder: Path, key_fingerprint: str, made_at: float) -> Manifest:
    with closing(sqlite3.connect(folder / "cellule.db")) as database:
        counts = {table: _count(database, table) for table in ("accounts", "api_keys", "workers")}
    return Manifest(
        box=socket.gethostname(),
        version=product_version(),
        made_at=made_at,
        key_fingerprint=key_fingerprint,
        schemas={name: _schema(folder / name) for name in DATABASE_FILES},
        files=tuple(
            PackedFile(path=str(path.relative_to(folder)), size_bytes=path.stat().st_size, sha256=_hash(path))
            for path in _files(folder)
        ),
        **counts,
    )


def _schema(path: Path) -> tuple[str, ...]:
    with closing(sqlite3.connect(path)) as database:
        return tuple(record.name for record in read_records(database))


def _count(database: sqlite3.Connection, table: str) -> int:
    condition = {
        "accounts": "disabled_at IS NULL",
        "api_keys": "revoked_at IS NULL",
        "workers": "state = 'approved'",
    }[table]
    return int(database.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()[0])  # noqa: S608


def _trouble_in(path: Path) -> str:
    """What SQLite finds wrong with a file, "" for nothing."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else found


def _secrets(settings: Settings) -> list[Path]:
    # a dot begins the draft of a file that is being written
    return [
        path
        for path in _files(settings.secrets_dir)
        if path.name not in NOT_KEPT and not path.name.startswith(".")
    ]


def _files(folder: Path) -> list[Path]:
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names if not Path(root, name).is_symlink())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(what: str) -> BackupDamaged:
    return BackupDamaged(
        f"This backup is damaged: {what}.", next_step="Take another one. Nothing was changed on this box."
    )
