"""Refusals of the appliance in the visitor's language, found by their stable code."""

import math
from collections.abc import Callable

from flask_babel import gettext, lazy_gettext, ngettext

from appliance.errors import Refusal, TryAgain
from appliance.people import LONGEST_PASSWORD, SHORTEST_PASSWORD, PasswordRefused, PasswordRule
from webadmin import backups_in_words, models_in_words
from webadmin.box_in_words import in_words

PASSWORD_RULES = {
    PasswordRule.TOO_SHORT: lazy_gettext("At least %(count)s characters", count=SHORTEST_PASSWORD),
    PasswordRule.TOO_LONG: lazy_gettext("At most %(count)s characters", count=LONGEST_PASSWORD),
    PasswordRule.HOLDS_NAME: lazy_gettext("Does not contain the account name"),
    PasswordRule.COMMON: lazy_gettext("Not one of the passwords that everybody tries first"),
}


def _password_refused(error: Refusal) -> str:
    assert isinstance(error, PasswordRefused)
    rules = "; ".join(str(PASSWORD_RULES[rule]) for rule in error.rules)
    return gettext("This password can't be used. What is missing: %(rules)s.", rules=rules)


def _too_many_attempts(error: Refusal) -> str:
    assert isinstance(error, TryAgain)
    return ngettext(
        "Too many wrong attempts. Try again in %(num)s second.",
        "Too many wrong attempts. Try again in %(num)s seconds.",
        math.ceil(error.retry_after_seconds),
    )


_SENTENCES: dict[str, Callable[[Refusal], str]] = {
    "password_refused": _password_refused,
    "too_many_attempts": _too_many_attempts,
    "account_name_refused": lambda _: gettext(
        "An account name has 2 to 64 characters: letters, digits and . - _ @, a letter or digit first."
    ),
    "account_name_taken": lambda _: gettext("There is already an account with this name."),
    "account_unknown": lambda _: gettext("There is no such account."),
    "last_admin": lambda _: gettext(
        "This is the only admin who can sign in. Make another admin first, then disable this one."
    ),
    "wrong_password": lambda _: gettext("The current password is not this one."),
    "password_unchanged": lambda _: gettext("This is the current password. Choose another one."),
    "already_claimed": lambda _: gettext("This box already has an admin. Sign in."),
    "unknown_invitation": lambda _: gettext("There is no such invitation."),
    "invitation_used": lambda _: gettext("The invitation was already used. Revoke its worker instead."),
    "invitation_not_possible": lambda _: gettext("Say which PC it is for, in 1 to 80 characters."),
    "unknown_worker": lambda _: gettext("There is no such worker."),
    "worker_not_pending": lambda _: gettext("This worker was taken out. Invite it anew."),
    "short_code_changed": lambda _: gettext("The worker shows another code by now. Compare the new one."),
    "no_tunnel_address": lambda _: gettext("All tunnel addresses are taken. Revoke workers that are gone."),
    "unknown_api_key": lambda _: gettext("There is no such API key."),
    "bad_api_key_request": lambda _: gettext("Give the key a name of 1 to 100 characters."),
    "not_the_recovery_key": lambda _: gettext(
        "This is not the recovery key that was shown. Make a new one if it is lost."
    ),
    "update_window_refused": lambda _: gettext("Choose at least one day, and two times."),
    "backup_key_mistyped": lambda _: gettext(
        "A character is wrong or missing: the key has eight groups of four."
    ),
    "wrong_backup_key": lambda _: gettext("This is not the backup key that is shown."),
    "host_unavailable": lambda _: gettext(
        "The part of the box that controls the machine does not answer. Try again in a moment."
    ),
    "change_pending": lambda _: gettext("Another change waits to be confirmed. Keep it or undo it first."),
    "no_change_pending": lambda _: gettext("There is no such change any more: it was undone. Make it again."),
    "confirmed_from_elsewhere": lambda _: gettext("The change can be kept only from the new address."),
    "install_under_way": lambda _: gettext("An install is under way already. Wait until it has ended."),
    "check_under_way": lambda _: gettext("A stick or file is being checked. Wait until that has ended."),
    "no_room": lambda _: gettext("There is not enough room: the box needs twice the size of the file."),
    "nothing_to_restart_into": lambda _: gettext("No installed release waits for a restart."),
    "support_no_vendor": lambda _: gettext(
        "This version of the box was built without a support key of its vendor."
    ),
    "support_request_unreadable": lambda _: gettext(
        "This is not a whole request of the vendor. Paste all of it, with its first and last line."
    ),
    "support_request_not_trusted": lambda _: gettext(
        "This request was not made by the vendor, or it was changed on its way. Do not trust it."
    ),
    "support_request_used": lambda _: gettext(
        "There was a session with this request already. Ask the vendor for a new one."
    ),
    "support_session_refused": lambda _: gettext("Say why, in 5 to 300 characters, and choose for how long."),
    "support_session_open": lambda _: gettext("A support session is open. End it first."),
    "support_bundle_busy": lambda _: gettext("A bundle is being collected. Wait until it is ready."),
    "support_bundle_missing": lambda _: gettext("There is no such bundle. Make one first."),
    "wrong_claim_code": lambda _: gettext("This is not the claim code of this box."),
}


def explain(error: Refusal) -> str:
    """The refusal as a sentence for the visitor: the words of its code, else its own in their language."""
    if error.code in backups_in_words.TROUBLES:
        return str(backups_in_words.TROUBLES[error.code])
    if error.code in models_in_words.TROUBLES:
        return str(models_in_words.TROUBLES[error.code])
    sentence = _SENTENCES.get(error.code)
    return sentence(error) if sentence else in_words(str(error))
