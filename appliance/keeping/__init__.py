"""Keeping what the box knows: the backup key, backups to a file and to a NAS, drills, restores.

Order of a backup: `snapshot` → `archive` or `restic` → history. Of a restore: unpack aside → check → prove →
confirm → swap at the next start (`apply_pending_restore`) → a week with a way back.
"""

from appliance.keeping.archive import read_archive, write_archive
from appliance.keeping.key import (
    BackupKey,
    BackupKeyMistyped,
    WrongBackupKey,
    backup_key,
    confirm_backup_key,
    is_backup_key_confirmed,
    parse_backup_key,
    replace_backup_key,
)
from appliance.keeping.places import KeepingBusy, NotEnoughSpace
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
from appliance.keeping.snapshot import BackupDamaged, BackupTooNew, DatabaseDamaged, Manifest

__all__ = [
    "BackupDamaged",
    "BackupKey",
    "BackupKeyMistyped",
    "BackupTooNew",
    "DatabaseDamaged",
    "KeepingBusy",
    "Manifest",
    "NotEnoughSpace",
    "NothingToRestore",
    "Restore",
    "RestoreStep",
    "WrongBackupKey",
    "apply_pending_restore",
    "backup_key",
    "confirm_backup_key",
    "confirm_restore",
    "discard_restore",
    "is_backup_key_confirmed",
    "last_restore",
    "parse_backup_key",
    "read_archive",
    "replace_backup_key",
    "stage_archive",
    "undo_restore",
    "write_archive",
]
