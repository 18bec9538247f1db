"""The verdict of this start, from the first breadcrumb to what the machine does next.

Called once a boot, as root. Whatever goes wrong beside the checks themselves (a disk that can't be written,
an ESP that can't be read) is told and changes nothing about the verdict.
"""

import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from sqlite_utils import Database

from appliance.boot.breadcrumbs import Outcome, Running, Trail, read_boots, with_known_times
from appliance.boot.checks import CHECKS, Box, Check
from appliance.boot.counting import (
    Kernel,
    give_try_back,
    kernel_running,
    read_kernels,
    root_hash_of,
    started_entry,
)
from appliance.boot.damaged import damaged_releases, end_damage, record_damaged
from appliance.boot.logs import log_around, log_of_boot
from appliance.boot.places import Places, built_at
from appliance.boot.refused import refuse_release, refused_releases
from appliance.boot.story import RollbackStory, rollback_story
from appliance.boot.telling import paragraph
from appliance.boot.trouble_page import trouble_page
from appliance.boot.verdict import Action, Verdict, judge, what_follows
from appliance.boot.word import Kind, Word
from appliance.errors import Refusal
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import DATABASE_FILES, open_activity, open_cellule

EXIT_GOOD = 0
EXIT_BAD_RELEASE = 1
EXIT_BAD_DATA = 65  # EX_DATAERR of sysexits.h


class StoppedEarly(Exception):
    """The machine is asked to stop before the verdict was spoken."""


def speak_verdict(
    settings: Settings, places: Places, running: Running, checks: Iterable[Check] = CHECKS
) -> int:
    """Judges this boot and prepares what follows; the exit status for systemd."""
    for stale in (places.stay_up, places.trouble_page):  # of a verdict before a repair
        with suppress(OSError):
            stale.unlink()
    trail = Trail(places.breadcrumbs, running)
    own = kernel_running(read_kernels(places.kernels), running.version, running.slot)
    own = own or started_entry(places.efi_variables)
    if own and not own.is_on_trial:
        # first of all: whatever becomes of this program, a release that was good is not started over and over
        _make(places.stay_up, "")
    trail.note("start", Outcome.OK, _how_it_is_started(running, own))
    try:
        verdict = judge(checks, Box(settings, places), trail.note, lambda units: log_around(settings, units))
    except StoppedEarly:
        # no try is given back: who restarts a box that seems stuck must get to the other slot in the end
        trail.note("stopped", Outcome.OK, "The machine was asked to stop before the verdict.")
        return EXIT_GOOD
    trail.note("verdict", Outcome.OK if verdict.is_good else Outcome.FAILED, verdict.sentence)
    _leave_word(places, running, verdict, trail.unwritable)
    if verdict.kind is not Kind.BAD_DATA:
        tell_rollback(settings, places, running)
    return _act(places, trail, own, verdict)


def tell_rollback(settings: Settings, places: Places, running: Running) -> RollbackStory | None:
    """Records the story of a release that used up its tries, once; None when there is nothing new to tell.

    It also ends the story of one that was written anew since.
    """
    if not all((settings.state_dir / name).exists() for name in DATABASE_FILES):
        return None  # opening would make it anew, and root's
    try:
        with (
            closing(open_cellule(settings.state_dir)) as db,
            closing(open_activity(settings.state_dir)) as log,
        ):
            kernels = read_kernels(places.kernels)
            if kernels:
                end_damage(db, {kernel.version for kernel in kernels if kernel.no_longer_starts})
            boots = with_known_times(read_boots(places.breadcrumbs), not_before=built_at())
            story = rollback_story(boots, kernels, running, _told(db, kernels))
            if story is None:
                return None
            story = _with_evidence(settings, places, story)
            record, event = (
                (record_damaged, AuditEvent.BOX_RELEASE_DAMAGED)
                if story.was_good
                else (refuse_release, AuditEvent.BOX_BOOT_ROLLED_BACK)
            )
            if record(db, story):
                record_audit(log, event, subject=story.version, detail=paragraph(story))
            return story
    except (Refusal, OSError, sqlite3.Error, ValueError) as error:
        _say(f"The story of the rollback could not be recorded: {error}")
        return None


def _told(db: Database, kernels: tuple[Kernel, ...]) -> set[str]:
    """Versions whose story is known: of a trial for ever, of damage as long as that copy lies in its slot."""
    was_good = {kernel.version for kernel in kernels if kernel.no_longer_starts}
    refused = {release.version for release in refused_releases(db)} - was_good
    return refused | {release.version for release in damaged_releases(db) if release.over_at is None}


def _with_evidence(settings: Settings, places: Places, story: RollbackStory) -> RollbackStory:
    """What only the disk knows: the root hash, and the journal of a start that ended without a word."""
    kernel = next(each for each in read_kernels(places.kernels) if each.version == story.version)
    attempts = tuple(
        attempt
        if attempt.log or not attempt.boot_id
        else attempt.model_copy(update={"log": log_of_boot(settings, attempt.boot_id)})
        for attempt in story.attempts
    )
    root_hash = root_hash_of(places.kernels / kernel.addon)
    return story.model_copy(update={"attempts": attempts, "root_hash": root_hash})


def _how_it_is_started(running: Running, own: Kernel | None) -> str:
    slot = f" in slot {running.slot}" if running.slot else ""
    tries = ""
    if own and own.tries_left is not None and own.is_on_trial:
        tries = f", try {own.tries_done} of {own.tries_done + own.tries_left}"
    elif own and own.tries_done > 1:
        tries = f"; of the starts just before this one, {own.tries_done - 1} ended before a verdict"
    return f"Release {running.version}{slot}{tries}."


def _act(places: Places, trail: Trail, own: Kernel | None, verdict: Verdict) -> int:
    match what_follows(verdict.kind, is_on_trial=own is not None and own.is_on_trial):
        case Action.BLESS:
            # cellule-blessing.service names the image, once boot-complete.target is reached
            trail.note("running", Outcome.OK, verdict.sentence)
            _keep_accelerator(places)
            return EXIT_GOOD
        case Action.RESTART:
            return EXIT_BAD_RELEASE
        case Action.STAY_UP:
            _make(places.stay_up, "")
            _give_back(places, own)
            return EXIT_BAD_DATA if verdict.kind is Kind.BAD_DATA else EXIT_BAD_RELEASE


def _keep_accelerator(places: Places) -> None:
    """What served this good boot is what the next one is held to."""
    with suppress(OSError):
        _make(places.accelerator, places.accelerator_now.read_text())


def _leave_word(places: Places, running: Running, verdict: Verdict, unwritten: str) -> None:
    word = Word(
        kind=verdict.kind,
        version=running.version,
        check=verdict.check,
        sentence=verdict.sentence,
        next_step=verdict.next_step,
        unwritten=unwritten,
    )
    _make(places.verdict, word.model_dump_json())
    if not verdict.is_good:
        _make(places.trouble_page, trouble_page(word))


def _make(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        _say(f"{path} could not be written: {error.strerror}")


def _give_back(places: Places, own: Kernel | None) -> None:
    if own is None:
        return
    try:
        give_try_back(places.kernels, own)
    except OSError as error:
        _say(f"The try could not be given back: {error.strerror}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 the journal
