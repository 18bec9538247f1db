"""Keeping what the box knows: the backup key, backups to a file and to a NAS, drills, restores.

Order of a backup: `snapshot` → `archive` or `restic` → history. Of a restore: unpack aside → check → prove →
confirm → swap at the next start (`apply_pending_restore`) → a week with a way back.
"""

from appliance.keeping.history import Run, Step, Work, running
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
from appliance.keeping.packing import PackedBox, pack_box
from appliance.keeping.places import KeepingBusy, NotEnoughSpace, require_space
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
from appliance.keeping.schedule import Done, backup_is_old, drill_is_bad
from appliance.keeping.snapshot import (
    BackupDamaged,
    BackupTooNew,
    DatabaseDamaged,
    Manifest,
)
from appliance.keeping.targets import (
    BackupChoice,
    KeepingRequests,
    NfsTarget,
    S3Target,
    SftpTarget,
    SmbTarget,
    Target,
    TargetKind,
    keep_target_secret,
    sftp_public_key,
)

__all__ = [
    "BackupChoice",
    "BackupDamaged",
    "BackupKey",
    "BackupKeyMistyped",
    "BackupSnapshot",
    "BackupTooNew",
    "DatabaseDamaged",
    "Done",
    "KeepingBusy",
    "KeepingRequests",
    "Manifest",
    "NfsTarget",
    "NoBackupKey",
    "NotEnoughSpace",
    "NothingToRestore",
    "PackedBox",
    "Restore",
    "RestoreStep",
    "Run",
    "S3Target",
    "SftpTarget",
    "SmbTarget",
    "Step",
    "Target",
    "TargetKind",
    "Work",
    "WrongBackupKey",
    "apply_pending_restore",
    "backup_is_old",
    "backup_key",
    "backup_recipient",
    "confirm_backup_key",
    "confirm_restore",
    "discard_restore",
    "drill_is_bad",
    "fingerprint_of",
    "forget_snapshots",
    "give_backup_key",
    "host_key_fingerprint",
    "is_backup_key_confirmed",
    "keep",
    "keep_target_secret",
    "known_snapshots",
    "last_restore",
    "offer_new_backup_key",
    "pack_box",
    "parse_backup_key",
    "read_done",
    "read_host_key",
    "require_space",
    "running",
    "sftp_public_key",
    "stage_archive",
    "undo_restore",
]
