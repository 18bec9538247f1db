"""Everything that a box must not install, one after the other against one running box; then what it must.

After each refusal the page says why in a sentence, the boot loader finds the same kernel image as before and
no other, and the box still answers.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.updating.channel_folder import ChannelFolder
from appliance.updating.packing import pack
from tests.image.box import BOOT_SECONDS, Box
from tests.image.channel_server import ChannelServer
from tests.image.disk_state import kernels_on
from tests.image.releases import (
    block_that_every_box_fetches,
    bundle_again,
    choose_channel,
    flip_a_byte,
    order,
    publish,
    wait_for_history,
    wait_for_page,
    words_of,
)
from tests.image.visitor import Visitor
from tests.image.watched_install import INSTALL_SECONDS
from tests.image.works import FIRST_VERSION, ROOT, SECOND_VERSION, Works

pytestmark = pytest.mark.timeout(2400)

OLDER, OF_ANOTHER_SIGNER, TAMPERED, STALLING = "0.9.0", "1.4.0", "1.5.0", "1.6.0"
THE_ONE_THAT_RUNS = f"cellule_{FIRST_VERSION}_a"
COUNTER = r"(\+\d+(-\d+)?)?\.efi$"
DAY = 24 * 3600.0
IN_MID_DOWNLOAD_BYTES = 1_000_000
CHECKED_SECONDS = 180.0
GIVEN_UP_SECONDS = 400.0
"""The kernel gives up a network block device that is silent for 300 s."""


@dataclass(frozen=True)
class Channels:
    """Folders of the web server, each a channel of its own."""

    server: ChannelServer
    ours: str = "ours"
    of_others: str = "of-others"
    expired: str = "expired"

    def folder(self, name: str) -> Path:
        return self.server.folder / name

    def url(self, name: str) -> str:
        return f"{self.server.url}/{name}/"


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of somebody else, of the same kinds as the vendor's."""
    keys = tmp_path_factory.mktemp("others") / "keys"
    subprocess.run([str(ROOT / "image" / "keys.sh"), str(keys)], check=True)
    return keys


@pytest.fixture(scope="module")
def channels(works: Works, second_release: str, others: Path, channel: ChannelServer) -> Channels:
    """The vendor's channel with one good release among bad ones, and two that the box must not believe."""
    channels = Channels(channel)
    ours = channels.folder(channels.ours)
    publish(works, ours, second_release)
    for version, signer in ((OLDER, works.keys), (OF_ANOTHER_SIGNER, others), (TAMPERED, works.keys)):
        bundle_again(works, version, signer)
        bundle = publish(works, ours, version)
        if version == TAMPERED:
            flip_a_byte(bundle, block_that_every_box_fetches(bundle))
    bundle_again(works, STALLING)
    publish(works, ours, STALLING)
    publish(works, channels.folder(channels.of_others), SECOND_VERSION, others)
    shutil.copytree(ours / "metadata", channels.folder(channels.expired) / "metadata")
    ChannelFolder(channels.folder(channels.expired), works.keys / "channel", at=now() - 60 * DAY).refresh()
    return channels


@pytest.fixture(scope="module")
def key(claimed: Box) -> str:
    """An API key, to see that the box answers."""
    with Visitor(claimed) as ada:
        ada.sign_in()
        return ada.make_key("Ticket system")


@pytest.fixture
def ada(claimed: Box) -> Iterator[Visitor]:
    """The admin, signed in."""
    with Visitor(claimed) as ada:
        ada.sign_in()
        yield ada


def check_that_nothing_changed(box: Box, ada: Visitor, key: str) -> None:
    page = ada.http.get("/updates").text
    assert f'<h2 id="running">{FIRST_VERSION}</h2>' in page
    assert "installed, waits for a restart" not in page
    assert "is kept in the other slot" not in page
    assert [re.sub(COUNTER, "", name) for name in kernels_on(box)] == [THE_ONE_THAT_RUNS]
    answer, _ = ada.ask(key, "What is Cellule?")
    assert answer


def test_a_channel_that_others_signed(claimed: Box, channels: Channels, ada: Visitor, key: str) -> None:
    choose_channel(ada, channels.url(channels.of_others))
    page = wait_for_page(claimed, ada, "The signatures do not hold. Nothing was taken from it")
    assert f'value="{SECOND_VERSION}"' not in page
    check_that_nothing_changed(claimed, ada, key)


def test_a_channel_that_nobody_has_renewed(claimed: Box, channels: Channels, ada: Visitor, key: str) -> None:
    choose_channel(ada, channels.url(channels.expired))
    page = wait_for_page(claimed, ada, "The signatures of the channel are out of date")
    assert f'value="{SECOND_VERSION}"' not in page
    check_that_nothing_changed(claimed, ada, key)


def test_a_release_older_than_the_one_that_runs(
    claimed: Box, channels: Channels, ada: Visitor, key: str
) -> None:
    choose_channel(ada, channels.url(channels.ours))
    page = wait_for_page(claimed, ada, f'value="{SECOND_VERSION}"')
    assert f'value="{OLDER}"' not in page
    forced = ada.submit("/updates", "/updates/install", version=OLDER, origin="channel", restart="now")
    assert f"It is not newer than {FIRST_VERSION}, which runs." in forced.text, words_of(forced.text)
    check_that_nothing_changed(claimed, ada, key)


def test_a_bundle_of_another_signer_in_the_vendors_own_channel(
    claimed: Box, channels: Channels, ada: Visitor, key: str
) -> None:
    order(claimed, ada, OF_ANOTHER_SIGNER)
    refused = "The bundle is not signed by the vendor whom this box believes."
    assert "not installed" in wait_for_history(claimed, ada, OF_ANOTHER_SIGNER, refused, INSTALL_SECONDS)
    check_that_nothing_changed(claimed, ada, key)


def test_a_bundle_with_one_tampered_byte(claimed: Box, channels: Channels, ada: Visitor, key: str) -> None:
    order(claimed, ada, TAMPERED)
    stopped = "The installer stopped. The running release was not touched."
    assert "Input/output error" in wait_for_history(claimed, ada, TAMPERED, stopped, INSTALL_SECONDS)
    check_that_nothing_changed(claimed, ada, key)


def test_two_admins_press_at_once_and_the_channel_stalls_in_mid_download(
    claimed: Box, channels: Channels, ada: Visitor, key: str
) -> None:
    wait_for_page(claimed, ada, f'value="{STALLING}"')
    channels.server.stalls_at = channels.server.sent_bytes + IN_MID_DOWNLOAD_BYTES
    both_ready = threading.Barrier(2)

    def press(_: int) -> str:
        with Visitor(claimed) as admin:
            admin.sign_in()
            both_ready.wait(120)
            return admin.submit(
                "/updates", "/updates/install", version=STALLING, origin="channel", restart="now"
            ).text

    with ThreadPoolExecutor(2) as admins:
        told = list(admins.map(press, range(2)))
    assert sorted("is being installed" in page for page in told) == [False, True]
    assert any(re.search("(?i)install is under way", page) for page in told)

    assert channels.server.stalled.wait(INSTALL_SECONDS)
    ada.submit("/updates", "/updates/look")
    page = wait_for_page(claimed, ada, "The channel does not answer.")
    assert f"Installing {STALLING}" in page
    answer, _ = ada.ask(key, "What is Cellule?")
    assert answer

    channels.server.go_away()
    wait_for_history(claimed, ada, STALLING, "The installer stopped.", GIVEN_UP_SECONDS)
    check_that_nothing_changed(claimed, ada, key)


def test_an_uploaded_file_with_one_tampered_byte(
    claimed: Box, channels: Channels, ada: Visitor, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "tampered.tar"
    pack(channels.folder(channels.ours), file, SECOND_VERSION)
    flip_a_byte(file, file.stat().st_size // 2)
    ada.send_file("/updates", "/updates/file", file)
    page = wait_for_page(claimed, ada, f"{file.name} was refused.", CHECKED_SECONDS)
    assert "The signatures do not hold. Nothing was taken from it" in page
    assert 'value="upload"' not in page
    check_that_nothing_changed(claimed, ada, key)


def test_the_same_file_untouched_is_installed_without_any_network(
    claimed: Box, channels: Channels, ada: Visitor, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "release.tar"
    pack(channels.folder(channels.ours), file, SECOND_VERSION)
    began = time.monotonic()
    ada.send_file("/updates", "/updates/file", file)
    print(f"{file.stat().st_size / 1e6:.0f} MB uploaded in {time.monotonic() - began:.0f} s")
    order(claimed, ada, SECOND_VERSION, origin="upload")
    since = len(claimed.screen)
    claimed.wait_for_console(rf"{re.escape(SECOND_VERSION)}, slot b", INSTALL_SECONDS + BOOT_SECONDS, since)
    claimed.wait_for_console("cellule-demo answers", since=since)
    with Visitor(claimed) as again:
        again.sign_in()
        assert f'<h2 id="running">{SECOND_VERSION}</h2>' in again.http.get("/updates").text
        answer, _ = again.ask(key, "What is Cellule?")
        assert answer
