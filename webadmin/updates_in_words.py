"""Releases, reasons and refusals as people read them."""

from collections.abc import Callable

from babel.dates import get_day_names
from flask_babel import get_locale, gettext, lazy_gettext, ngettext
from flask_babel.speaklater import LazyString

from appliance.errors import Refused
from appliance.updating import Check, Install, Origin, Progress, Reason, Stage, UpdateChoice, Weekday, Why
from webadmin import figures
from webadmin.box_in_words import in_words


class NotInstallable(Refused):
    """The release of the form is gone, or a reason forbids it by now."""

    code = "release_not_installable"
    http_status = 409


class NotConfirmed(Refused):
    """A copy with expired signatures needs a person's word."""

    code = "release_not_confirmed"


class NothingChosen(Refused):
    """The form came without a file."""

    code = "no_update_file"


BADGES: dict[Stage, tuple[str, LazyString]] = {
    Stage.ORDERED: ("accent", lazy_gettext("ordered")),
    Stage.INSTALLING: ("accent", lazy_gettext("being installed")),
    Stage.INSTALLED: ("warn", lazy_gettext("installed, waits for a restart")),
    Stage.RESTARTING: ("warn", lazy_gettext("restarting")),
    Stage.TRYING: ("warn", lazy_gettext("runs, on trial")),
    Stage.HELD: ("ok", lazy_gettext("runs")),
    Stage.FAILED: ("bad", lazy_gettext("not installed")),
    Stage.ROLLED_BACK: ("bad", lazy_gettext("tried and undone")),
    Stage.REPLACED: ("", lazy_gettext("replaced by another")),
}
ORIGINS: dict[Origin, LazyString] = {
    Origin.CHANNEL: lazy_gettext("channel"),
    Origin.STICK: lazy_gettext("USB stick"),
    Origin.UPLOAD: lazy_gettext("uploaded file"),
}
_WHY: dict[Why, Callable[[Reason], str]] = {
    Why.OTHER_KIND: lambda _: gettext("It is made for another kind of box."),
    Why.NOT_NEWER: lambda r: gettext("It is not newer than %(version)s, which runs.", version=r.version),
    Why.ROLLED_BACK: lambda _: gettext("This box tried it and went back: it is not tried again."),
    Why.NEEDS_ANOTHER_FIRST: lambda r: gettext("It needs release %(version)s first.", version=r.version),
    Why.INSTALLED: lambda r: gettext("Release %(version)s is installed already.", version=r.version),
    Why.HELD: lambda _: gettext("All releases are on hold."),
    Why.UNDER_WAY: lambda _: gettext("Another install is under way."),
    Why.ON_TRIAL: lambda r: gettext(
        "Release %(version)s is still on trial: the other slot is the way back.", version=r.version
    ),
    Why.SOMEBODY_MUST_ASK: lambda _: gettext("What was brought by hand is installed when an admin says so."),
    Why.NOT_AUTOMATIC: lambda _: gettext("The box does not install by itself: that is switched off."),
    Why.FAILED_BEFORE: lambda _: gettext("The last attempt failed. The next one begins:"),
    Why.WAVE: lambda r: (
        gettext("The vendor hands it out in waves. This box's turn comes:")
        if r.at
        else gettext("The vendor hands it out in waves. The wave of this box is not planned yet.")
    ),
    Why.WINDOW: lambda _: gettext("It waits for the maintenance window, which opens:"),
}
_TROUBLES: dict[str, LazyString] = {
    "channel_silent": lazy_gettext("The channel does not answer. Check the address and the network."),
    "no_channel": lazy_gettext("There is no channel at this address."),
    "channel_expired": lazy_gettext(
        "The signatures of the channel are out of date. Check the clock of the box, or ask the vendor."
    ),
    "channel_rolled_back": lazy_gettext("What is offered is older than what this box has already seen."),
    "channel_not_trusted": lazy_gettext(
        "The signatures do not hold. Nothing was taken from it; tell the vendor."
    ),
    "no_channel_key": lazy_gettext("This box has no key to verify releases with."),
    "not_an_update_file": lazy_gettext("This is not an update file."),
    "update_file_cut_off": lazy_gettext("The end of the file is missing. Copy it again."),
    "medium_gone": lazy_gettext(
        "It could not be read to its end. Was the stick pulled? Nothing has changed."
    ),
    "nothing_on_stick": lazy_gettext(
        "There is no channel and no update file on the stick, or its folder has a space in its name."
    ),
    "host_not_found": lazy_gettext("No USB stick was found. Plug it in and try again."),
    "no_room": lazy_gettext("There is not enough room: the box needs twice the size of the file."),
    "install_under_way": lazy_gettext("An install is under way already. Wait until it has ended."),
    "install_failed": lazy_gettext("The installer stopped. The running release was not touched."),
    "install_interrupted": lazy_gettext("The install was cut off. The running release was not touched."),
    "did_not_start": lazy_gettext("The box was restarted twice and did not start it."),
}

_NOT_BEGUN: dict[str, LazyString] = {
    "bundle_not_trusted": lazy_gettext(
        "The bundle is not signed by the vendor whom this box believes. Nothing was installed;"
        " tell the vendor."
    ),
    "host_invalid_plan": lazy_gettext(
        "The bundle is not the one that was announced for this release. Nothing was installed."
    ),
    "host_failed": lazy_gettext("The installer could not begin. The running release was not touched."),
}
"""Why an install was refused before its first byte was written."""


def reason(why: Reason) -> str:
    """One sentence; a moment follows it when `why.at` is known."""
    return _WHY[why.why](why)


def trouble(code: str, sentence: str) -> str:
    """A recorded refusal, by its code, else by the sentence that was recorded."""
    return str(_TROUBLES.get(code) or in_words(sentence))


def install_trouble(install: Install) -> str:
    """Why an install ended badly; the installer's own words are `install.error`."""
    return str(_NOT_BEGUN.get(install.code) or trouble(install.code, install.error))


def percent(progress: Progress | None) -> str:
    """As the installer counts."""
    return figures.percent((progress.percent if progress else 0) / 100)


def step(install: Install, progress: Progress | None) -> str:
    """What the installer does now."""
    if install.stage is not Stage.ORDERED and progress and progress.step:
        return in_words(progress.step)
    return gettext("Beginning…")


def time_left(seconds: float | None) -> str:
    """At the speed so far."""
    if seconds is None:
        return gettext("time left: not known yet")
    if seconds < 60:
        return gettext("less than a minute left")
    return ngettext("about %(num)s minute left", "about %(num)s minutes left", round(seconds / 60))


def checked(check: Check) -> str:
    """How far the check of a file is."""
    if not check.size_bytes:
        return gettext("Reading signatures…")
    return gettext(
        "%(done)s of %(all)s read", done=figures.size(check.done_bytes), all=figures.size(check.size_bytes)
    )


def days() -> dict[Weekday, str]:
    """Their names, Monday first."""
    names = get_day_names("wide", locale=get_locale())
    return {day: names[day.value] for day in Weekday}


def what_changed(former: UpdateChoice, choice: UpdateChoice) -> str:
    """For the audit trail, in English: each field that differs."""
    before, after = former.model_dump(mode="json"), choice.model_dump(mode="json")
    return "; ".join(
        f"{name}: {before[name]} → {after[name]}" for name in after if before[name] != after[name]
    )
