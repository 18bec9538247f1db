"""Keeping what the box knows: the backup key, backups to a file and to a NAS, drills, restores.

Order of a backup: `snapshot` → `archive` or `restic` → history. Of a restore: unpack aside → check → prove →
confirm → swap at the next start (`apply_pending_restore`) → a week with a way back.
"""

from appliance.keeping.archive import read_archive, write_archive
from appliance.keeping.history import Run, Step, Work, running
from appliance.keeping.identity import read_identity
from appliance.keeping.key import (
    BackupKey,
    BackupKeyMistyped,
    NoBackupKey,
    WrongBackupKey,
    backup_key,
    backup_recipient,
    confirm_backup_key,
    fingerprint_of,
    give_backup_key,
    is_backup_key_confirmed,
    offer_new_backup_key,
    parse_backup_key,
)
from appliance.keeping.nightly import forget_snapshots, keep, known_snapshots, read_done
from appliance.keeping.places import KeepingBusy, NotEnoughSpace
from appliance.keeping.repository import host_key_fingerprint, read_host_key
from appliance.keeping.restic import BackupSnapshot
from appliance.keeping.restoring import (
    NothingToRestore,
    Restore,
    RestoreStep,
    apply_pending_restore,
    confirm_restore,
    discard_restore,
    last_restore,
    stage_archive,
    undo_restore,
)
from appliance.keeping.snapshot import (
    BackupDamaged,
    BackupTooNew,
    DatabaseDamaged,
    Manifest,
    take_snapshot,
)

__all__ = [
    "BackupDamaged",
    "BackupKey",
    "BackupKeyMistyped",
    "BackupSnapshot",
    "BackupTooNew",
    "DatabaseDamaged",
    "KeepingBusy",
    "Manifest",
    "NoBackupKey",
    "NotEnoughSpace",
    "NothingToRestore",
    "Restore",
    "RestoreStep",
    "Run",
    "Step",
    "Work",
    "WrongBackupKey",
    "apply_pending_restore",
    "backup_key",
    "backup_recipient",
    "confirm_backup_key",
    "confirm_restore",
    "discard_restore",
    "fingerprint_of",
    "forget_snapshots",
    "give_backup_key",
    "host_key_fingerprint",
    "is_backup_key_confirmed",
    "keep",
    "known_snapshots",
    "last_restore",
    "offer_new_backup_key",
    "parse_backup_key",
    "read_archive",
    "read_done",
    "read_host_key",
    "read_identity",
    "running",
    "stage_archive",
    "take_snapshot",
    "undo_restore",
    "write_archive",
]
