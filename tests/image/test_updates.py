"""Two releases of a channel: a good one, fetched in small part; and one that can not answer, given up."""

import re
from pathlib import Path

import pytest

from tests.image.box import Box
from tests.image.channel_server import ChannelServer
from tests.image.releases import install, publish
from tests.image.visitor import Visitor
from tests.image.watched_install import INSTALL_SECONDS, Updated
from tests.image.works import ROOT, SECOND_VERSION, Works

pytestmark = pytest.mark.timeout(2400)

MUTE = "1.2.0"
LARGEST_SHARE_FETCHED = 0.15
GIVEN_UP_SECONDS = 900.0


def test_only_what_changed_is_fetched_and_the_new_release_answers(
    second: Box, works: Works, updated: Updated
) -> None:
    bundle_bytes = works.bundle(updated.version).stat().st_size
    print(
        f"fetched {updated.fetched_bytes / 1e6:.1f} of {bundle_bytes / 1e6:.1f} MB,"
        f" installed in {updated.moments[-1].seconds:.0f} s"
    )
    assert 0 < updated.fetched_bytes < LARGEST_SHARE_FETCHED * bundle_bytes
    with Visitor(second) as ada:
        answer, chunks = ada.ask(updated.key, "What is Cellule?")
        assert answer
        assert chunks > 1


def test_a_release_that_cannot_answer_is_given_up_and_the_box_says_why(
    second: Box, works: Works, channel: ChannelServer
) -> None:
    works.make(MUTE, take_its_voice)
    publish(works, channel.folder, MUTE)
    with Visitor(second) as ada:
        ada.sign_in()
        install(second, ada, MUTE)
    since = len(second.screen)
    second.wait_for_console(rf"{re.escape(MUTE)}, slot a", INSTALL_SECONDS, since)
    second.wait_for_console(rf"{re.escape(SECOND_VERSION)}, slot b", GIVEN_UP_SECONDS, since)
    second.wait_for_console("cellule-demo answers", since=since)
    with Visitor(second) as ada:
        ada.sign_in()
        second.wait_until(lambda: ada.http.get(f"/starts/{MUTE}").is_success, "the story is told", 120)
        story = ada.http.get(f"/starts/{MUTE}").text
        updates = ada.http.get("/updates").text
    assert "No engine is ready" in story
    assert "no engine for a mute box" in story, story[:4000]
    assert f'value="{MUTE}"' not in updates


def take_its_voice(root: Path) -> None:
    """Everything starts, only no engine does; and it is not waited for as long, three times."""
    package = root / "usr/lib/cellule/appliance"
    (package / "engines").mkdir(parents=True)
    (package / "engines" / "__main__.py").write_text('raise SystemExit("no engine for a mute box")\n')
    checks = (ROOT / "appliance" / "boot" / "checks.py").read_text()
    waits = "        check_answer,\n        120,\n"
    assert waits in checks
    (package / "boot").mkdir()
    (package / "boot" / "checks.py").write_text(checks.replace(waits, waits.replace("120", "40")))
