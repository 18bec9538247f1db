"""A release that hangs in the middle of its start: nobody is there to press a button, but the watchdog is."""

import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.image.box import BOOT_SECONDS, Box
from tests.image.channel_server import ChannelServer
from tests.image.releases import install, publish, wait_for_history
from tests.image.visitor import Visitor
from tests.image.watched_install import INSTALL_SECONDS
from tests.image.works import SECOND_VERSION, Works

pytestmark = pytest.mark.timeout(2400)

HANGING = "1.3.0"
TRIES = 3
A_START = "BdsDxe: starting Boot"
"""What the firmware says when it hands over to the boot loader."""
LONGEST_TRY_SECONDS = 300.0
LONGEST_SILENCE_SECONDS = 180
"""The watchdog's minute, and what the machine needs to start again."""
UNIT = """\
[Unit]
Description=The fault of this release
DefaultDependencies=no
Requires=cellule-data.service
After=cellule-data.service
Before=sysinit.target

[Service]
Type=oneshot
# the first process stands still from here on: nothing more is started, and nobody feeds the watchdog
ExecStart=/bin/sh -c 'echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze'
"""


def test_a_release_that_hangs_is_restarted_by_the_watchdog_until_the_old_one_is_back(
    second: Box, works: Works, channel: ChannelServer
) -> None:
    works.make(HANGING, stand_still)
    publish(works, channel.folder, HANGING)
    with Visitor(second) as ada:
        ada.sign_in()
        install(second, ada, HANGING)
    since, starts = len(second.screen), list[float]()

    # each hanging start ends by the watchdog, the last one with the old release's
    while len(starts) < TRIES + 1:
        limit = LONGEST_TRY_SECONDS if starts else INSTALL_SECONDS
        found = second.wait_for_console(A_START, limit, since)
        since += found.end()
        starts.append(time.monotonic())
    took = [round(later - earlier) for earlier, later in pairwise(starts)]
    print(f"seconds from start to start: {took}")
    second.wait_for_console(rf"{re.escape(SECOND_VERSION)}, slot b", BOOT_SECONDS, since)
    second.wait_for_console("cellule-demo answers", since=since)

    with Visitor(second) as ada:
        ada.sign_in()
        second.wait_until(lambda: ada.http.get(f"/starts/{HANGING}").is_success, "the story is told", 120)
        assert "tried and undone" in wait_for_history(second, ada, HANGING, "tried and undone", 120)
        story = ada.http.get(f"/starts/{HANGING}.txt").text
        page = ada.http.get("/updates").text
    assert f"Release {HANGING} was started {TRIES} times and did not become good." in story, story
    silences = [int(each) for each in re.findall(r"It hung after 'data': no word for (\d+) s", story)]
    assert len(silences) >= TRIES, story
    assert max(silences) < LONGEST_SILENCE_SECONDS, story
    assert f'name="version" value="{HANGING}"' not in page


def stand_still(root: Path) -> None:
    """The system stops in the middle of its start and says nothing more."""
    units = root / "usr/lib/systemd/system"
    (units / "sysinit.target.wants").mkdir(parents=True)
    (units / "fault.service").write_text(UNIT)
    (units / "sysinit.target.wants" / "fault.service").symlink_to("../fault.service")
