"""Backups as people read them, in the visitor's language: works, steps, kinds of target, troubles."""

from flask_babel import gettext, lazy_gettext

from appliance.keeping import RestoreStep, Run, Step, TargetKind, Work
from webadmin.box_in_words import in_words

KINDS = {
    TargetKind.SMB: lazy_gettext("Windows or NAS share (SMB)"),
    TargetKind.NFS: lazy_gettext("NFS export"),
    TargetKind.SFTP: lazy_gettext("SFTP server"),
    TargetKind.S3: lazy_gettext("S3 bucket"),
}
SHORT_KINDS = {TargetKind.SMB: "SMB", TargetKind.NFS: "NFS", TargetKind.SFTP: "SFTP", TargetKind.S3: "S3"}
WORKS = {
    Work.TEST: lazy_gettext("Testing the connection"),
    Work.BACKUP: lazy_gettext("Backing up"),
    Work.DRILL: lazy_gettext("Restore drill"),
    Work.CHECK: lazy_gettext("Checking a backup for a restore"),
}
STEPS = {
    Step.CONNECT: lazy_gettext("calling the backup target"),
    Step.SNAPSHOT: lazy_gettext("taking a snapshot of the box"),
    Step.STORE: lazy_gettext("sending what is new"),
    Step.PRUNE: lazy_gettext("removing what is older than 30 days"),
    Step.UNPACK: lazy_gettext("fetching and unpacking"),
    Step.PROVE: lazy_gettext("proving that it opens"),
}
RESTORES = {
    RestoreStep.PENDING: lazy_gettext("The backup takes effect when the box restarts."),
    RestoreStep.RETURNING: lazy_gettext("The state before the restore comes back when the box restarts."),
}
TROUBLES = {
    "backup_key_mistyped": lazy_gettext(
        "This is not a backup key: a character is wrong or missing."
        " It has eight groups of four letters and digits."
    ),
    "wrong_backup_key": lazy_gettext("This was encrypted with another backup key."),
    "no_backup_key": lazy_gettext("Note the backup key first, then type it back."),
    "backup_damaged": lazy_gettext(
        "This is not a whole backup: it was cut short or altered. Nothing was changed on this box."
    ),
    "backup_too_new": lazy_gettext(
        "This backup was made by a newer version. Update this box first, then restore."
    ),
    "schema_too_new": lazy_gettext(
        "This backup was made by a newer version. Update this box first, then restore."
    ),
    "database_damaged": lazy_gettext(
        "A database of the box is damaged, so no backup was made of it. Restore the last good one."
    ),
    "keeping_disk_full": lazy_gettext("The disk of the box is too full for this. Nothing was changed."),
    "keeping_busy": lazy_gettext("A backup, a drill or a restore is running. Wait until it has ended."),
    "nothing_to_restore": lazy_gettext(
        "This has changed meanwhile. Load the page again to see how it stands."
    ),
    "interrupted": lazy_gettext("It was cut off: the box was stopped meanwhile."),
    "broken": lazy_gettext("It failed in a way that nobody foresaw. A support bundle says more."),
    "backup_target_unreachable": lazy_gettext(
        "The server does not answer. Check its name and that it is on."
    ),
    "backup_target_stalled": lazy_gettext(
        "The server stopped moving data. It is tried again in an hour; earlier backups are as they were."
    ),
    "backup_target_locked": lazy_gettext(
        "Something else works on the backups there. Each box needs a folder of its own."
    ),
    "backup_target_login": lazy_gettext("The server does not accept this account and its password or key."),
    "backup_target_folder": lazy_gettext(
        "The share, bucket or folder can't be used."
        " Check that it exists and that the account may write there."
    ),
    "backup_target_full": lazy_gettext("There is no space left there. Earlier backups are as they were."),
    "backup_target_not_trusted": lazy_gettext(
        "The server proves itself with another key or certificate than expected."
        " Find out why before you go on."
    ),
    "backup_target_empty": lazy_gettext("There is no backup there yet."),
    "no_backup_program": lazy_gettext("The backup program restic is not installed on this machine."),
    "host_unavailable": lazy_gettext("A part of the box does not answer. It is tried again."),
}
"""By the refusal's code."""


def trouble(run: Run) -> str:
    """Why a run failed."""
    return str(TROUBLES.get(run.code) or in_words(run.trouble))


def progress(run: Run) -> str:
    """What a run does now."""
    return gettext("%(work)s: %(step)s", work=WORKS[run.work], step=STEPS[run.step])
