"""What the owner reads after a rollback, for each way in which a release can fail."""

import pytest

from appliance.boot.breadcrumbs import Boot, Running, with_known_times
from appliance.boot.counting import Kernel, kernel_of
from appliance.boot.story import Ending, RollbackStory, rollback_story
from appliance.boot.telling import full_text, how_it_ended, paragraph
from tests.boot.trails import BEGAN, CHECKS, NOW, boot, good, this_boot

GOOD_KERNEL, FAILED_KERNEL = "cellule_1.0_a.efi", "cellule_2.0_b+0-3.efi"
DATA = ("data", "start")
NO_POOL = (*DATA, *CHECKS[:3], "!pool", "!verdict")


def kernels(*names: str) -> tuple[Kernel, ...]:
    return tuple(kernel for name in names if (kernel := kernel_of(name)))


def told(*boots: Boot, failed: str = FAILED_KERNEL) -> RollbackStory:
    story = rollback_story(boots, kernels(GOOD_KERNEL, failed), NOW, ())
    assert story is not None
    return story


def test_a_check_that_failed_is_named_with_its_sentence_and_log() -> None:
    story = told(good(1), *(boot(number, "2.0", *NO_POOL) for number in (2, 3, 4)), this_boot(5))
    assert (story.version, story.slot, story.tries, story.running_version) == ("2.0", "b", 3, "1.0")
    assert [attempt.ending for attempt in story.attempts] == [Ending.CHECK_FAILED] * 3
    telling = story.telling
    assert (telling.check, telling.sentence, telling.log) == ("pool", "About pool.", "the log around")
    assert telling.last_good_step == "broker"
    assert telling.at == BEGAN + 4 * 300 + 70
    text = paragraph(story)
    assert "2.0 was started 3 times" in text and "'broker'" in text and "'pool'" in text
    assert "went back to release 1.0" in text and "not tried again" in text


def test_a_hang_is_told_by_its_silence() -> None:
    hung = [boot(number, "2.0", *DATA, "storage") for number in (2, 3, 4)]
    story = told(good(1), *hung, this_boot(5))
    assert {attempt.ending for attempt in story.attempts} == {Ending.HUNG}
    # 300 s between the starts, the last word after 30
    assert story.telling.silent_seconds == 270
    assert "hung after 'storage': no word for 270 s" in how_it_ended(story.telling)


def test_a_release_that_leaves_no_word_never_came_to_the_data() -> None:
    story = told(good(1), this_boot(5))
    assert [attempt.ending for attempt in story.attempts] == [Ending.NEVER_ARRIVED] * 3
    assert story.telling.at == 0
    assert "never came as far as the data partition" in paragraph(story)


def test_tries_of_different_ends_are_all_told_and_the_failed_check_explains_most() -> None:
    story = told(good(1), boot(2, "2.0", *NO_POOL), boot(3, "2.0", *DATA), this_boot(4))
    assert [attempt.ending for attempt in story.attempts] == [
        Ending.NEVER_ARRIVED,
        Ending.CHECK_FAILED,
        Ending.HUNG,
    ]
    assert story.telling.check == "pool"


def test_a_try_that_was_stopped_before_its_verdict_is_no_hang() -> None:
    story = told(
        good(1), boot(2, "2.0", *DATA, "storage", "stopped"), this_boot(3), failed="cellule_2.0_b+0-1.efi"
    )
    assert story.telling.ending is Ending.STOPPED
    assert "restarted before its verdict" in paragraph(story)
    assert "started once" in paragraph(story)


def test_a_good_boot_that_could_not_be_blessed_is_told_as_that() -> None:
    story = told(good(1), good(2, "2.0"), this_boot(3), failed="cellule_2.0_b+0-1.efi")
    assert story.telling.ending is Ending.NOT_BLESSED


def test_a_verdict_that_never_came_is_told_as_that() -> None:
    story = told(
        good(1), boot(2, "2.0", *DATA, "storage", "restart"), this_boot(3), failed="cellule_2.0_b+0-1.efi"
    )
    assert story.telling.ending is Ending.NO_VERDICT
    assert story.telling.last_good_step == "storage"


def test_only_the_tries_that_were_used_count_not_starts_of_long_ago() -> None:
    # 2.0 ran well once, was replaced, came back and then never started
    long_ago = [good(1, "2.0"), boot(2, "2.0", *NO_POOL)]
    story = told(*long_ago, good(3), this_boot(4))
    assert {attempt.ending for attempt in story.attempts} == {Ending.NEVER_ARRIVED}


def test_a_start_whose_lines_were_all_torn_counts_as_one_without_a_word() -> None:
    story = told(
        good(1), boot(2, "2.0", *NO_POOL), Boot(3, "torn", ()), this_boot(4), failed="cellule_2.0_b+0-2.efi"
    )
    assert [attempt.ending for attempt in story.attempts] == [Ending.NEVER_ARRIVED, Ending.CHECK_FAILED]


def test_a_start_of_this_slot_that_could_not_tell_the_story_is_passed_over() -> None:
    silent = boot(5, "1.0", *DATA, "!storage", "!verdict")
    story = told(good(1), boot(4, "2.0", *NO_POOL), silent, this_boot(6), failed="cellule_2.0_b+0-1.efi")
    assert story.telling.check == "pool"


def test_a_release_that_was_good_and_leaves_no_word_is_told_as_damaged() -> None:
    # it had run well until it was switched off: those starts are none of the five
    story = told(good(1), good(2, "2.0"), good(3, "2.0"), this_boot(4), failed="cellule_2.0_b+0-5.efi")
    assert story.was_good and story.tries == 5
    assert [attempt.ending for attempt in story.attempts] == [Ending.NEVER_ARRIVED] * 5
    text = paragraph(story)
    assert "2.0, which had run well on this box, no longer starts" in text
    assert "5 starts in a row ended before the data partition was mounted" in text
    assert "Probably its copy on the disk is damaged" in text
    assert "runs release 1.0 from the other slot" in text and "Install release 2.0 again" in text
    assert "not tried again" not in text


def test_a_release_that_was_good_and_hangs_is_told_with_how_it_ended() -> None:
    hung = [boot(number, "2.0", *DATA, "storage") for number in (3, 4)]
    story = told(good(1), good(2, "2.0"), *hung, this_boot(5), failed="cellule_2.0_b+0-5.efi")
    assert [attempt.ending for attempt in story.attempts] == [Ending.NEVER_ARRIVED] * 3 + [Ending.HUNG] * 2
    text = paragraph(story)
    assert "5 starts in a row ended before their verdict" in text and "hung after 'storage'" in text
    assert "Probably its copy" in text
    assert "Try 5 of 5" in full_text(story)


def test_a_good_release_that_was_restarted_again_and_again_is_not_called_damaged() -> None:
    stopped = [boot(number, "2.0", *DATA, "stopped") for number in range(2, 7)]
    story = told(good(1), *stopped, this_boot(8), failed="cellule_2.0_b+0-5.efi")
    assert {attempt.ending for attempt in story.attempts} == {Ending.STOPPED}
    assert "damaged" not in paragraph(story)


@pytest.mark.parametrize(
    "names",
    [
        (GOOD_KERNEL,),
        (GOOD_KERNEL, "cellule_2.0_b.efi"),
        (GOOD_KERNEL, "cellule_2.0_b+1-2.efi"),
        (GOOD_KERNEL, "cellule_2.0_b+3.efi"),
        # put aside by hand: nothing left, nothing tried
        (GOOD_KERNEL, "cellule_2.0_b+0.efi"),
        # good before, and power was cut while it started
        (GOOD_KERNEL, "cellule_2.0_b+5.efi"),
        (GOOD_KERNEL, "cellule_2.0_b+1-4.efi"),
        (),
    ],
)
def test_there_is_no_story_unless_a_release_used_up_its_tries(names: tuple[str, ...]) -> None:
    boots = (good(1), boot(2, "2.0", *NO_POOL), this_boot(3))
    assert rollback_story(boots, kernels(*names), NOW, ()) is None


def test_a_story_is_told_once() -> None:
    assert rollback_story((this_boot(2),), kernels(GOOD_KERNEL, FAILED_KERNEL), NOW, {"2.0"}) is None


def test_the_release_that_failed_does_not_tell_of_itself() -> None:
    # both slots used up: systemd-boot starts one of them all the same
    running = Running("2.0", "b", "now")
    names = kernels("cellule_1.0_a+0-3.efi", FAILED_KERNEL)
    story = rollback_story((), names, running, ())
    assert story is not None and story.version == "1.0"


def test_a_power_cut_or_a_planned_restart_in_normal_running_is_no_story() -> None:
    for end in ("", "stopped"):
        boots = (good(1, "2.0", end=end), this_boot(2))
        assert rollback_story(boots, kernels(GOOD_KERNEL, "cellule_2.0_b.efi"), NOW, ()) is None


def test_a_wrong_clock_makes_times_unknown_and_nothing_else() -> None:
    boots = (good(1), *(boot(number, "2.0", *DATA) for number in (2, 3)), this_boot(4))
    boots = with_known_times(boots, not_before=BEGAN + 4 * 300)
    story = rollback_story(boots, kernels(GOOD_KERNEL, "cellule_2.0_b+0-2.efi"), NOW, ())
    assert story is not None
    assert [(attempt.at, attempt.silent_seconds) for attempt in story.attempts] == [(0.0, None)] * 2
    assert "no word, then" in paragraph(story)
    assert full_text(story).count("time unknown") == 2


def test_the_text_to_download_holds_every_try_and_its_log() -> None:
    story = told(good(1), boot(2, "2.0", *NO_POOL), boot(3, "2.0", *DATA), this_boot(4))
    text = full_text(story.model_copy(update={"root_hash": "ab" * 32}))
    for part in ("Try 1 of 3", "Try 3 of 3", "the log around", "ab" * 32, "2026-09-"):
        assert part in text


def test_a_story_survives_its_way_through_storage() -> None:
    story = told(good(1), boot(2, "2.0", *NO_POOL), this_boot(3))
    assert RollbackStory.model_validate_json(story.model_dump_json()) == story
