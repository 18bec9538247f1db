"""The events of the audit trail in the visitor's language; one that is not listed shows its code."""

from flask_babel import lazy_gettext
from flask_babel.speaklater import LazyString

from appliance.people import AuditEvent

_TEXTS: dict[str, LazyString] = {
    AuditEvent.ADMIN_BOX_CLAIMED: lazy_gettext("Claimed the box"),
    AuditEvent.USER_SESSION_OPENED: lazy_gettext("Signed in"),
    AuditEvent.USER_SESSION_CLOSED: lazy_gettext("Signed out"),
    AuditEvent.VISITOR_SESSION_REFUSED: lazy_gettext("Sign-in refused"),
    AuditEvent.USER_PASSWORD_CHANGED: lazy_gettext("Changed the own password"),
    AuditEvent.ADMIN_PERSON_ADDED: lazy_gettext("Added an account"),
    AuditEvent.ADMIN_PERSON_DISABLED: lazy_gettext("Disabled an account"),
    AuditEvent.ADMIN_PERSON_ENABLED: lazy_gettext("Enabled an account"),
    AuditEvent.ADMIN_PASSWORD_RESET: lazy_gettext("Reset a password"),
    AuditEvent.ADMIN_KEY_MADE: lazy_gettext("Made an API key"),
    AuditEvent.ADMIN_KEY_REVOKED: lazy_gettext("Revoked an API key"),
    AuditEvent.ADMIN_WORKER_INVITED: lazy_gettext("Invited a worker"),
    AuditEvent.ADMIN_INVITATION_WITHDRAWN: lazy_gettext("Withdrew an invitation"),
    AuditEvent.ADMIN_WORKER_APPROVED: lazy_gettext("Approved a worker"),
    AuditEvent.ADMIN_WORKER_REVOKED: lazy_gettext("Took a worker out"),
    AuditEvent.ADMIN_MODEL_GET: lazy_gettext("Asked for a model"),
    AuditEvent.BOX_MODEL_ADDED: lazy_gettext("Took a model in"),
    AuditEvent.BOX_MODEL_REFUSED: lazy_gettext("Refused a model"),
    AuditEvent.ADMIN_MODEL_REMOVED: lazy_gettext("Removed a model"),
    AuditEvent.ADMIN_MODEL_CHECKED: lazy_gettext("Had a model checked"),
    AuditEvent.ADMIN_MODELS_CHANGED: lazy_gettext("Changed where models come from"),
    AuditEvent.ADMIN_ALIAS_MOVED: lazy_gettext("Moved an alias"),
    AuditEvent.ADMIN_SERVER_ADOPTED: lazy_gettext("Adopted a server"),
    AuditEvent.ADMIN_SERVER_RELEASED: lazy_gettext("Released an adopted server"),
    AuditEvent.ADMIN_MACHINE_CHANGED: lazy_gettext("Changed the machine"),
    AuditEvent.ADMIN_CHANGE_CONFIRMED: lazy_gettext("Confirmed a change"),
    AuditEvent.BOX_CHANGE_UNDONE: lazy_gettext("Undid a change"),
    AuditEvent.ADMIN_RELEASE_INSTALL: lazy_gettext("Asked to install a release"),
    AuditEvent.ADMIN_UPDATES_CHANGED: lazy_gettext("Changed the updates"),
    AuditEvent.BOX_RELEASE_INSTALLED: lazy_gettext("Installed a release"),
    AuditEvent.BOX_RELEASE_REFUSED: lazy_gettext("Refused a release"),
    AuditEvent.BOX_BOOT_ROLLED_BACK: lazy_gettext("Went back to the release before"),
    AuditEvent.BOX_RELEASE_DAMAGED: lazy_gettext("No longer starts; the other slot runs"),
    AuditEvent.ADMIN_BACKUP_CHANGED: lazy_gettext("Changed the backups"),
    AuditEvent.ADMIN_BACKUP_RESTORED: lazy_gettext("Restored a backup"),
    AuditEvent.ADMIN_BOX_RESET: lazy_gettext("Reset the box"),
    AuditEvent.ADMIN_SUPPORT_OPENED: lazy_gettext("Opened a support session"),
    AuditEvent.ADMIN_SUPPORT_CUT: lazy_gettext("Cut support off"),
    AuditEvent.ADMIN_SUPPORT_REFUSED: lazy_gettext("A support request was refused"),
    AuditEvent.BOX_SUPPORT_ENDED: lazy_gettext("The support session ended"),
    AuditEvent.VENDOR_SUPPORT_COMMAND: lazy_gettext("Support asks"),
    AuditEvent.VENDOR_SUPPORT_DONE: lazy_gettext("Support was answered"),
    AuditEvent.ADMIN_BUNDLE_MADE: lazy_gettext("Made a support bundle"),
    AuditEvent.ADMIN_BUNDLE_TAKEN: lazy_gettext("Downloaded a support bundle"),
    AuditEvent.ADMIN_PLAN_APPLIED: lazy_gettext("Applied a plan of the models"),
    AuditEvent.ADMIN_PLAN_CHANGED: lazy_gettext("Changed how models are placed"),
    AuditEvent.ADMIN_AUDIT_KEPT: lazy_gettext("Chose how long this trail is kept"),
    AuditEvent.BOX_AUDIT_FORGOTTEN: lazy_gettext("Removed old lines of this trail"),
    AuditEvent.CONSOLE_NETWORK_CHANGED: lazy_gettext("Changed the network"),
    AuditEvent.CONSOLE_BOX_RESTARTED: lazy_gettext("Restarted the box"),
    AuditEvent.CONSOLE_BOX_TURNED_OFF: lazy_gettext("Turned the box off"),
    AuditEvent.CONSOLE_BOX_RESET: lazy_gettext("Reset the box"),
    AuditEvent.CONSOLE_DISK_INSTALL: lazy_gettext("Installed to a disk"),
    AuditEvent.CONSOLE_LANGUAGE_CHANGED: lazy_gettext("Changed the language"),
}


def event_text(event: str) -> str:
    """What happened, in a few words."""
    return str(_TEXTS.get(event, event))
