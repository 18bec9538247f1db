"""Two releases of a channel: a good one, fetched in small part; and one that can not answer, given up."""

import re
from pathlib import Path

import pytest

from tests.image.box import Box
from tests.image.channel_server import ChannelServer
from tests.image.conftest import Works
from tests.image.releases import change_a_line, choose_channel, install, publish
from tests.image.visitor import Visitor

pytestmark = pytest.mark.timeout(2400)

GOOD, MUTE = "1.1.0", "1.2.0"
LARGEST_SHARE_FETCHED = 0.15
INSTALL_SECONDS = 1200.0
GIVEN_UP_SECONDS = 900.0


def test_only_what_changed_is_fetched_and_the_new_release_answers(
    claimed: Box, works: Works, channel: ChannelServer
) -> None:
    works.make(GOOD, change_a_line)
    publish(works, channel.folder, GOOD)
    with Visitor(claimed) as ada:
        ada.sign_in()
        key = ada.make_key("Before")
        choose_channel(ada, channel.url)
        install(claimed, ada, GOOD)
    since = len(claimed.screen)
    claimed.wait_for_console(rf"{re.escape(GOOD)}, slot b", INSTALL_SECONDS, since)
    claimed.wait_for_console("cellule-demo answers", since=since)
    bundle_bytes = works.bundle(GOOD).stat().st_size
    print(f"fetched {channel.sent_bytes / 1e6:.1f} of {bundle_bytes / 1e6:.1f} MB")
    assert channel.sent_bytes < LARGEST_SHARE_FETCHED * bundle_bytes
    with Visitor(claimed) as ada:
        answer, chunks = ada.ask(key, "What is Cellule?")
        assert answer
        assert chunks > 1


def test_a_release_that_cannot_answer_is_given_up_and_the_box_says_why(
    claimed: Box, works: Works, channel: ChannelServer
) -> None:
    works.make(MUTE, take_its_voice)
    publish(works, channel.folder, MUTE)
    with Visitor(claimed) as ada:
        ada.sign_in()
        install(claimed, ada, MUTE)
    since = len(claimed.screen)
    claimed.wait_for_console(rf"{re.escape(MUTE)}, slot a", INSTALL_SECONDS, since)
    claimed.wait_for_console(rf"{re.escape(GOOD)}, slot b", GIVEN_UP_SECONDS, since)
    claimed.wait_for_console("cellule-demo answers", since=since)
    with Visitor(claimed) as ada:
        ada.sign_in()
        claimed.wait_until(lambda: ada.http.get(f"/starts/{MUTE}").is_success, "the story is told", 120)
        story = ada.http.get(f"/starts/{MUTE}").text
        updates = ada.http.get("/updates").text
    assert "No engine is ready" in story
    assert "no engine for a mute box" in story, story[:4000]
    assert f'value="{MUTE}"' not in updates


def take_its_voice(root: Path) -> None:
    """Everything starts, only no engine does."""
    engines = root / "usr/lib/cellule/appliance/engines/__main__.py"
    engines.parent.mkdir(parents=True)
    engines.write_text('raise SystemExit("no engine for a mute box")\n')
