"""From the checks to what the machine does next, on real files: breadcrumbs, kernels, database, audit."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from appliance.boot import (
    DamagedRelease,
    damaged_releases,
    find_given_up,
    given_up_releases,
    is_refused,
    read_word,
    speaking,
)
from appliance.boot.__main__ import console_text
from appliance.boot.breadcrumbs import Outcome, Running, Trail, read_boots
from appliance.boot.checks import Box, Check
from appliance.boot.failure import CheckFailed, Fault
from appliance.boot.places import Places, places
from appliance.boot.speaking import EXIT_BAD_DATA, EXIT_BAD_RELEASE, EXIT_GOOD, speak_verdict
from appliance.boot.story import Ending
from appliance.people import AuditEvent, audit_lines
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.waiting import wait_until

LOADER_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ROOT_HASH = "0f" * 32
OLD, NEW = Running("1.0", "a", "old"), Running("2.0", "b", "new")


@pytest.fixture
def here(settings: Settings) -> Places:
    here = places(settings)
    here.kernels.mkdir(parents=True)
    for opened in (open_cellule, open_activity):
        opened(settings.state_dir).close()
    return here


def say_it_is_tried(here: Places, name: str) -> None:
    """As systemd-boot tells it, in an EFI variable."""
    text = f"\\EFI\\Linux\\{name}\0".encode("utf-16-le")
    (here.efi_variables / f"LoaderBootCountPath-{LOADER_VENDOR}").write_bytes(b"\6\0\0\0" + text)


def kernel(here: Places, name: str) -> Path:
    path = here.kernels / name
    path.write_bytes(b"MZ")
    addon = here.kernels / f"{name.partition('+')[0].removesuffix('.efi')}.efi.extra.d" / "root.addon.efi"
    addon.parent.mkdir(exist_ok=True)
    addon.write_bytes(b"MZ" + f" roothash={ROOT_HASH} ".encode())
    return path


def names(here: Places) -> set[str]:
    return {path.name for path in here.kernels.iterdir() if path.is_file()}


def check(run: Callable[[Box], str]) -> tuple[Check]:
    return (Check("part", "", run, 5, ()),)


def fine(_: Box) -> str:
    return "Fine."


def broken(_: Box) -> str:
    raise CheckFailed("The part is broken.", is_final=True)


def damaged(_: Box) -> str:
    raise CheckFailed("cellule.db is damaged.", Fault.DATA, next_step="Restore a backup.", is_final=True)


def steps(here: Places, boot_id: str) -> list[str]:
    return next(
        [c.step for c in boot.crumbs] for boot in read_boots(here.breadcrumbs) if boot.boot_id == boot_id
    )


def test_a_good_boot_of_a_release_being_tried_ends_in_running(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_2.0_b+2-1.efi")
    assert speak_verdict(settings, here, NEW, check(fine)) == EXIT_GOOD
    assert steps(here, "new") == ["start", "part", "verdict", "running"]
    assert read_boots(here.breadcrumbs)[0].crumbs[0].sentence == "Release 2.0 in slot b, try 1 of 3."
    assert not here.stay_up.exists() and not here.trouble_page.exists()
    word = read_word(here.verdict)
    assert word is not None and word.is_good
    assert console_text(settings) == ""


def test_a_bad_release_being_tried_is_started_again(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_2.0_b+2-1.efi")
    assert speak_verdict(settings, here, NEW, check(broken)) == EXIT_BAD_RELEASE
    assert not here.stay_up.exists()
    assert names(here) == {"cellule_2.0_b+2-1.efi"}, "the try is used"
    assert steps(here, "new") == ["start", "part", "verdict"]


def test_a_blessed_release_that_fails_stays_up_and_says_so(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_1.0_a.efi")
    assert speak_verdict(settings, here, OLD, check(broken)) == EXIT_BAD_RELEASE
    assert "The part is broken." in console_text(settings)


@pytest.mark.parametrize("run", [broken, damaged], ids=["bad release", "bad data"])
def test_a_release_that_was_good_stays_up_and_its_verdict_costs_no_try(
    settings: Settings, here: Places, run: Callable[[Box], str]
) -> None:
    kernel(here, "cellule_1.0_a+2-3.efi")
    assert speak_verdict(settings, here, OLD, check(run)) != EXIT_GOOD
    assert here.stay_up.exists()
    assert names(here) == {"cellule_1.0_a+5.efi"}
    first = read_boots(here.breadcrumbs)[0].crumbs[0]
    assert "of the starts just before this one, 2 ended before a verdict" in first.sentence


def test_a_release_that_was_good_stays_up_also_when_the_verdict_breaks_off(
    settings: Settings, here: Places
) -> None:
    class Broken(BaseException):
        pass

    def breaks(*_: object) -> NoReturn:
        raise Broken

    for tried, stays in (("cellule_2.0_b+2-1.efi", False), ("cellule_2.0_b+4-1.efi", True)):
        for old in here.kernels.glob("*.efi"):
            old.unlink()
        kernel(here, tried)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Broken):
            patch.setattr(speaking, "judge", breaks)
            speak_verdict(settings, here, NEW, check(fine))
        assert here.stay_up.exists() == stays
        assert names(here) == {tried}


def test_what_systemd_boot_says_counts_where_the_esp_can_not_be_read(
    settings: Settings, here: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    say_it_is_tried(here, "cellule_2.0_b+1-2.efi")
    assert speak_verdict(settings, here, NEW, check(damaged)) == EXIT_BAD_DATA
    assert "try 2 of 3" in capsys.readouterr().err


def test_storage_that_is_missing_is_not_made_by_telling_a_story(settings: Settings, here: Places) -> None:
    (settings.state_dir / "cellule.db").unlink()
    kernel(here, "cellule_2.0_b+0-3.efi")
    assert speak_verdict(settings, here, OLD, check(broken)) == EXIT_BAD_RELEASE
    assert "The part is broken." in console_text(settings)
    assert not (settings.state_dir / "cellule.db").exists()


def test_bad_data_stays_up_unblessed_and_costs_no_try(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_2.0_b+2-1.efi")
    assert speak_verdict(settings, here, NEW, check(damaged)) == EXIT_BAD_DATA
    assert here.stay_up.exists()
    page = here.trouble_page.read_text()
    assert "cellule.db is damaged." in page and "Restore a backup." in page and "Les données" in page
    assert names(here) == {"cellule_2.0_b+3.efi"}
    assert "Restore a backup." in console_text(settings)


def test_once_the_data_is_repaired_nothing_is_left_of_the_former_verdict(
    settings: Settings, here: Places
) -> None:
    kernel(here, "cellule_2.0_b+2-1.efi")
    speak_verdict(settings, here, NEW, check(damaged))
    assert speak_verdict(settings, here, NEW, check(fine)) == EXIT_GOOD
    assert not here.stay_up.exists() and not here.trouble_page.exists()
    assert console_text(settings) == ""


def test_the_old_slot_records_tells_and_audits_the_rollback_once(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_1.0_a.efi")
    assert speak_verdict(settings, here, OLD, check(fine)) == EXIT_GOOD
    for number in range(2):
        kernel(here, "cellule_2.0_b+0-2.efi")
        speak_verdict(settings, here, Running("2.0", "b", f"try{number}"), check(broken))
    back = Running("1.0", "a", "back")
    assert speak_verdict(settings, here, back, check(fine)) == EXIT_GOOD
    with (
        closing(open_cellule(settings.state_dir)) as db,
        closing(open_activity(settings.state_dir)) as activity,
    ):
        assert is_refused(db, "2.0") and not is_refused(db, "1.0")
        release = find_given_up(db, "2.0")
        assert release is not None and release.seen_at is None
        assert release.root_hash == ROOT_HASH
        assert [attempt.ending for attempt in release.story.attempts] == [Ending.CHECK_FAILED] * 2
        assert release.story.telling.sentence == "The part is broken."
        (line,) = audit_lines(activity)
        assert (line.event, line.subject) == (AuditEvent.BOX_BOOT_ROLLED_BACK, "2.0")
    command = [sys.executable, "-m", "appliance.boot", "story"]
    shown = subprocess.run(
        command, env=os.environ | settings.environment(), capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{release.reason}\n"
    speak_verdict(settings, here, Running("1.0", "a", "later"), check(fine))
    with closing(open_activity(settings.state_dir)) as activity:
        assert len(audit_lines(activity)) == 1


def test_a_release_that_never_left_a_word_is_refused_too(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_1.0_a.efi")
    kernel(here, "cellule_2.0_b+0-3.efi")
    speak_verdict(settings, here, OLD, check(fine))
    with closing(open_cellule(settings.state_dir)) as db:
        release = find_given_up(db, "2.0")
    assert release is not None and release.story.telling.ending is Ending.NEVER_ARRIVED


def test_a_release_that_was_good_and_no_longer_starts_is_told_but_not_refused(
    settings: Settings, here: Places
) -> None:
    worn = kernel(here, "cellule_2.0_b+0-5.efi")
    kernel(here, "cellule_1.0_a+4-1.efi")
    for boot_id in ("back", "later"):
        assert speak_verdict(settings, here, Running("1.0", "a", boot_id), check(fine)) == EXIT_GOOD
    with closing(open_cellule(settings.state_dir)) as db:
        assert not is_refused(db, "2.0")
        (release,) = given_up_releases(db)
        assert release.story.was_good and release.story.never_arrived
        assert release.story.tries == 5
    with closing(open_activity(settings.state_dir)) as activity:
        (line,) = audit_lines(activity)
        assert (line.event, line.subject) == (AuditEvent.BOX_RELEASE_DAMAGED, "2.0")
    assert "no longer starts: 5 starts in a row ended before the data" in console_text(settings)

    # installed again, it is on trial, and good
    worn.rename(here.kernels / "cellule_2.0_b+2-1.efi")
    assert speak_verdict(settings, here, Running("2.0", "b", "again"), check(fine)) == EXIT_GOOD
    assert console_text(settings) == ""
    with closing(open_cellule(settings.state_dir)) as db:
        assert given_up_releases(db) == ()
        history = find_given_up(db, "2.0")
        assert isinstance(history, DamagedRelease) and history.over_at is not None

    # and the disk fails once more
    (here.kernels / "cellule_2.0_b+2-1.efi").rename(here.kernels / "cellule_2.0_b+0-5.efi")
    speak_verdict(settings, here, Running("1.0", "a", "back again"), check(fine))
    with closing(open_cellule(settings.state_dir)) as db:
        assert [each.over_at is None for each in damaged_releases(db)] == [True, False]


def test_a_boot_partition_that_cant_be_read_ends_no_story(settings: Settings, here: Places) -> None:
    kernel(here, "cellule_2.0_b+0-5.efi")
    speak_verdict(settings, here, OLD, check(fine))
    for each in here.kernels.glob("*.efi"):
        each.unlink()
    speak_verdict(settings, here, Running("1.0", "a", "later"), check(fine))
    assert "Release 2.0" in console_text(settings)


def test_trouble_beside_the_checks_changes_nothing_about_the_verdict(
    settings: Settings, here: Places
) -> None:
    kernel(here, "cellule_2.0_b+0-3.efi")
    (settings.state_dir / "cellule.db").write_bytes(b"rubbish" * 1000)
    here.breadcrumbs.write_text("a file where the folder should be")
    here.run.parent.mkdir(exist_ok=True)
    here.run.write_text("the same")
    assert speak_verdict(settings, here, OLD, check(fine)) == EXIT_GOOD
    assert console_text(settings) == ""


def test_a_good_boot_that_could_not_be_noted_says_so(settings: Settings, here: Places) -> None:
    here.breadcrumbs.write_text("a file where the folder should be")
    assert speak_verdict(settings, here, OLD, check(fine)) == EXIT_GOOD
    word = read_word(here.verdict)
    assert word is not None and word.is_good and "could not be written" in word.unwritten


def test_being_asked_to_stop_before_the_verdict_leaves_a_word(settings: Settings) -> None:
    # nothing runs on this box: the verdict waits for the broker
    for opened in (open_cellule, open_activity):
        opened(settings.state_dir).close()
    environment = os.environ | settings.environment()
    verdict = subprocess.Popen([sys.executable, "-m", "appliance.boot", "verdict"], env=environment)
    folder = settings.state_dir / "boot"

    def is_waiting() -> bool:
        boots = read_boots(folder)
        return bool(boots) and boots[0].crumbs[-1].step == "storage"

    wait_until(is_waiting, within_seconds=20, what="storage was checked")
    verdict.send_signal(signal.SIGTERM)
    assert verdict.wait(10) == 0
    (boot,) = read_boots(folder)
    assert boot.crumbs[-1].step == "stopped"


def test_the_first_line_of_the_shell_belongs_to_the_same_boot(settings: Settings, here: Places) -> None:
    Trail(here.breadcrumbs, NEW).note("data", Outcome.OK, "Kernel up, data mounted.")
    speak_verdict(settings, here, NEW, check(fine))
    assert steps(here, "new") == ["data", "start", "part", "verdict", "running"]
