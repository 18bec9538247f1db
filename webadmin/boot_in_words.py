"""Starts of the box as the pages tell them: how far a release came, and how each try ended."""

from dataclasses import dataclass

from flask_babel import gettext, ngettext

from appliance.boot import Attempt, Ending, RollbackStory
from webadmin import figures


@dataclass(frozen=True)
class Stage:
    """One step on the way to a good boot; `state` is done, failed or open (never reached)."""

    title: str
    state: str


def stages(attempt: Attempt) -> list[Stage]:
    """The way to a good boot, with how far this try came."""
    titles = _titles()
    names = list(titles)
    reached = names.index(attempt.last_good_step) if attempt.last_good_step in titles else -1
    failed = names.index(attempt.check) if attempt.check in titles else -1
    if attempt.ending is Ending.HUNG:
        failed = reached + 1
    return [
        Stage(title, "failed" if place == failed else "done" if place <= reached else "open")
        for place, title in enumerate(titles.values())
    ]


def step_title(step: str) -> str:
    """What was proved by the step."""
    return _titles().get(step, step)


def summary(story: RollbackStory) -> str:
    """The whole story in a few sentences."""
    return _no_longer_starts(story) if story.was_good else _did_not_become_good(story)


def _no_longer_starts(story: RollbackStory) -> str:
    if story.never_arrived:
        starts = gettext(
            "It had run well here; then %(number)s starts in a row ended before the data was mounted.",
            number=story.tries,
        )
    else:
        starts = gettext(
            "It had run well here; then %(number)s starts in a row ended before their verdict.",
            number=story.tries,
        )
    damaged = gettext("Probably its copy on the disk is damaged.") if story.looks_damaged else ""
    other = gettext("The box runs release %(version)s from the other slot.", version=story.running_version)
    again = gettext("Install release %(version)s again to write it anew.", version=story.version)
    return " ".join(filter(None, (starts, damaged, other, again)))


def _did_not_become_good(story: RollbackStory) -> str:
    tried = ngettext(
        "It was started once and did not become good.",
        "It was started %(num)s times and did not become good.",
        story.tries,
    )
    back = gettext(
        "The box went back to release %(version)s by itself and works with it.", version=story.running_version
    )
    never_again = gettext("Release %(version)s is not tried again.", version=story.version)
    return f"{tried} {back} {never_again}"


def ending(attempt: Attempt) -> str:
    """How this try ended."""
    match attempt.ending:
        case Ending.CHECK_FAILED:
            return _failures().get(attempt.check, gettext("A check failed: %(check)s.", check=attempt.check))
        case Ending.HUNG:
            if attempt.silent_seconds is None:
                return gettext("It hung. The watchdog, or a power cut, restarted the box.")
            return gettext(
                "It hung: no word for %(time)s, then the watchdog, or a power cut, restarted the box.",
                time=figures.seconds(attempt.silent_seconds),
            )
        case Ending.STOPPED:
            return gettext("It was restarted before it was known whether it is good.")
        case Ending.NOT_BLESSED:
            return gettext("It was good, but that could not be recorded on the boot partition.")
        case Ending.NO_VERDICT:
            return gettext("The check of this start itself broke off.")
        case Ending.NEVER_ARRIVED:
            return gettext("It left no word: its kernel or its root file system did not start.")


def _titles() -> dict[str, str]:
    return {
        "data": gettext("Kernel started, data found"),
        "start": gettext("Services started"),
        "data-partition": gettext("Data can be used"),
        "storage": gettext("Accounts and conversations can be read"),
        "broker": gettext("The machine can be configured"),
        "pool": gettext("Requests are taken"),
        "webadmin": gettext("The pages are served"),
        "front": gettext("The box can be reached"),
        "accelerator": gettext("The engine fits this processor"),
        "answer": gettext("A question is answered"),
    }


def _failures() -> dict[str, str]:
    return {
        "data": gettext("The data partition was not there."),
        "data-partition": gettext("The data partition was not there."),
        "storage": gettext("Accounts and conversations could not be read by this release."),
        "broker": gettext("The service that configures the machine did not answer."),
        "pool": gettext("The service that takes requests did not answer."),
        "webadmin": gettext("The pages were not served."),
        "front": gettext("The service that answers on the network did not answer."),
        "accelerator": gettext("The engine does not fit this processor."),
        "answer": gettext("The box did not answer a question that it must be able to answer."),
    }
