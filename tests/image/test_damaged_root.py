"""One bit flips on the disk, in a release that had run well: the box runs the other one, and says why.

The kernel stops at the first block that its hash tree does not confirm, before any program of ours could
tell. So what counts here is the counter on the boot partition, and what the other slot makes of it.
"""

import json
import re

import pytest

from tests.image.box import Box, in_tools
from tests.image.disk_state import kernels_in
from tests.image.releases import install
from tests.image.visitor import Visitor
from tests.image.watched_install import INSTALL_SECONDS, Updated
from tests.image.works import FIRST_VERSION, SECOND_VERSION

pytestmark = pytest.mark.timeout(2400)

TRIES_ONCE_GOOD = 5
FIVE_STARTS_SECONDS = 900.0
PANIC = "dm-verity device corrupted"
SUPERBLOCK = 1024
"""Where erofs has it: every mount reads it."""


def test_a_flipped_bit_in_the_root_starts_the_other_slot_and_is_told(second: Box, updated: Updated) -> None:
    second.press_power_button()
    assert kernels_in(second, second.overlay) == {
        f"cellule_{FIRST_VERSION}_a+{TRIES_ONCE_GOOD}.efi",
        f"cellule_{SECOND_VERSION}_b+{TRIES_ONCE_GOOD}.efi",
    }, "both were good here"
    flip_a_bit(second, partition="root-b", offset=SUPERBLOCK)

    since = len(second.screen)
    second.start()
    second.wait_for_console(rf"{re.escape(FIRST_VERSION)}, slot a", FIVE_STARTS_SECONDS, since)
    second.wait_for_console("cellule-demo answers", since=since)
    starts = second.screen[since:]
    assert starts.count(PANIC) == TRIES_ONCE_GOOD
    assert f"{SECOND_VERSION}, slot b" not in starts, "what was changed must never run"

    with Visitor(second) as ada:
        answer, _ = ada.ask(updated.key, "What is Cellule?")
        assert answer
        ada.sign_in()
        second.wait_until(
            lambda: ada.http.get(f"/starts/{SECOND_VERSION}").is_success, "the story is told", 120
        )
        overview, story = ada.http.get("/overview").text, ada.http.get(f"/starts/{SECOND_VERSION}").text
    assert f"Release {SECOND_VERSION} no longer starts." in overview
    assert f"{TRIES_ONCE_GOOD} starts in a row ended before the data was mounted" in story, story[:4000]
    assert f"The box runs release {FIRST_VERSION} from the other slot." in story
    second.wait_for_console(rf"{re.escape(SECOND_VERSION)} ran well and no longer starts", 60, since)


def test_offered_and_installed_again_it_runs_and_the_story_is_history(second: Box) -> None:
    with Visitor(second) as ada:
        ada.sign_in()
        install(second, ada, SECOND_VERSION)
    since = len(second.screen)
    second.wait_for_console(rf"{re.escape(SECOND_VERSION)}, slot b", INSTALL_SECONDS, since)
    second.wait_for_console("cellule-demo answers", since=since)
    with Visitor(second) as ada:
        ada.sign_in()
        second.wait_until(
            lambda: "no longer starts" not in ada.http.get("/overview").text, "the banner is gone", 120
        )
        assert "Repaired or replaced" in ada.http.get(f"/starts/{SECOND_VERSION}").text


def partitions(box: Box) -> dict[str, int]:
    """Name → where it begins on the disk, in bytes."""
    told = in_tools("sfdisk", "--json", str(box.disk), folders=(box.disk.parent,)).stdout
    return {each["name"]: each["start"] * 512 for each in json.loads(told)["partitiontable"]["partitions"]}


def flip_a_bit(box: Box, *, partition: str, offset: int) -> None:
    """On the disk of a box that is off."""
    place = partitions(box)[partition] + offset

    def at_disk(command: str) -> str:
        return in_tools("qemu-io", "-f", "qcow2", "-c", command, str(box.overlay), folders=box.folders).stdout

    before = re.search(r"^[0-9a-f]+:\s+([0-9a-f]{2})\b", at_disk(f"read -v {place} 1"), re.MULTILINE)
    assert before
    at_disk(f"write -P {int(before[1], 16) ^ 1} {place} 1")
