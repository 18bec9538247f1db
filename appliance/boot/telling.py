"""The story as plain English text: for the console, the log, and the file that an admin downloads."""

from datetime import UTC, datetime

from appliance.boot.story import Attempt, Ending, RollbackStory


def paragraph(story: RollbackStory) -> str:
    """One paragraph without the log."""
    return _no_longer_starts(story) if story.was_good else _did_not_become_good(story)


def _no_longer_starts(story: RollbackStory) -> str:
    starts = f"{story.tries} starts in a row ended before"
    how = (
        f"{starts} the data partition was mounted."
        if story.never_arrived
        else f"{starts} their verdict. {how_it_ended(story.telling)}"
    )
    damaged = " Probably its copy on the disk is damaged." if story.looks_damaged else ""
    return (
        f"Release {story.version}, which had run well on this box, no longer starts: {how}{damaged} "
        f"The box runs release {story.running_version} from the other slot. "
        f"Install release {story.version} again to write it anew."
    )


def _did_not_become_good(story: RollbackStory) -> str:
    tries = "once" if story.tries == 1 else f"{story.tries} times"
    return (
        f"Release {story.version} was started {tries} and did not become good. "
        f"{how_it_ended(story.telling)} The box went back to release {story.running_version}. "
        f"Release {story.version} is not tried again."
    )


def how_it_ended(attempt: Attempt) -> str:
    """A sentence or two about one try."""
    came = f"It came as far as '{attempt.last_good_step}'." if attempt.last_good_step else ""
    match attempt.ending:
        case Ending.CHECK_FAILED:
            return f"{came} The check '{attempt.check}' failed: {attempt.sentence}".strip()
        case Ending.HUNG:
            silent = "" if attempt.silent_seconds is None else f" for {attempt.silent_seconds:.0f} s"
            return (
                f"It hung after '{attempt.last_good_step or 'its start'}': no word{silent}, "
                "then the watchdog (or a power cut) restarted the box."
            )
        case Ending.STOPPED:
            return f"{came} It was restarted before its verdict.".strip()
        case Ending.NOT_BLESSED:
            return "It was judged good, but that could not be recorded on the boot partition."
        case Ending.NO_VERDICT:
            return f"{came} The check of this start itself broke off.".strip()
        case Ending.NEVER_ARRIVED:
            return "It never came as far as the data partition: its kernel or root file system did not start."


def full_text(story: RollbackStory) -> str:
    """Everything that is known, as a text file."""
    lines = [f"What happened to release {story.version}", "", paragraph(story), ""]
    for number, attempt in enumerate(story.attempts, start=1):
        when = f"{datetime.fromtimestamp(attempt.at, UTC):%Y-%m-%d %H:%M:%S} UTC" if attempt.at else "unknown"
        lines += [f"Try {number} of {story.tries}, time {when}", how_it_ended(attempt)]
        if attempt.log:
            lines += ["", attempt.log.rstrip()]
        lines.append("")
    if story.root_hash:
        lines.append(f"Root hash: {story.root_hash}")
    return "\n".join(lines)
