"""Two releases of a channel: a good one, fetched in small part; and one that can not answer, given up."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.box import Box
from tests.image.channel_server import ChannelServer
from tests.image.conftest import Works
from tests.image.office import Office
from tests.image.visitor import Visitor

pytestmark = pytest.mark.timeout(1700)

GOOD, MUTE = "1.1.0", "1.2.0"
LARGEST_SHARE_FETCHED = 0.15
INSTALL_SECONDS = 600.0
GIVEN_UP_SECONDS = 900.0


@pytest.fixture(scope="module")
def channel(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChannelServer]:
    """An empty channel on a server of the office."""
    folder = tmp_path_factory.mktemp("channel")
    with office.inside("server"):
        server = ChannelServer(folder, office.address("server"))
    yield server
    server.shutdown()


def publish(works: Works, channel: ChannelServer, version: str) -> None:
    """Signs a bundle into the channel, as the vendor does."""
    subprocess.run(
        [sys.executable, "-m", "appliance.updating.publish", "--version", version,
         "--bundle", str(works.bundle(version)), "--channel", str(channel.folder),
         "--keys", str(works.keys / "channel")],
        check=True,
    )  # fmt: skip


def install(box: Box, ada: Visitor, version: str) -> None:
    """Waits until the page offers `version` from the channel, then presses install, with a restart."""

    def offered() -> bool:
        return f'value="{version}"' in ada.http.get("/updates").text

    ada.submit("/updates", "/updates/look")
    box.wait_until(offered, f"release {version} is found", 120)
    answer = ada.submit("/updates", "/updates/install", version=version, origin="channel", restart="now")
    assert "is being installed" in answer.text, answer.text[:3000]


def test_only_what_changed_is_fetched_and_the_new_release_answers(
    claimed: Box, works: Works, channel: ChannelServer
) -> None:
    works.make(GOOD, change_a_line)
    publish(works, channel, GOOD)
    with Visitor(claimed) as ada:
        ada.sign_in()
        key = ada.make_key("Before")
        ada.submit(
            "/updates", "/updates/choices",
            channel_url=channel.url, days="0", begins="02:00", ends="02:01",
        )  # fmt: skip
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
    publish(works, channel, MUTE)
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
    assert "no engine for a mute claimed" in story, story[:4000]
    assert f'value="{MUTE}"' not in updates


def change_a_line(root: Path) -> None:
    """What most releases are: a little Python."""
    changed = root / "usr/lib/cellule/appliance/clock.py"
    changed.parent.mkdir(parents=True)
    source = Path(__file__).parents[2] / "appliance" / "clock.py"
    changed.write_text(source.read_text() + "\n# this release differs here\n")


def take_its_voice(root: Path) -> None:
    """Everything starts, only no engine does."""
    engines = root / "usr/lib/cellule/appliance/engines/__main__.py"
    engines.parent.mkdir(parents=True)
    engines.write_text('raise SystemExit("no engine for a mute box")\n')
