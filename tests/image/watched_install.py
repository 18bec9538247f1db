"""One install of a good release, watched from the order to the restart: see `updated` in conftest.

The disk is kept as it was at many moments of it, each what a power cut at that moment would leave.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from tests.image.box import Box, Frozen
from tests.image.channel_server import ChannelServer
from tests.image.disk_state import keep_state
from tests.image.releases import choose_channel, history_of, order
from tests.image.visitor import Visitor

INSTALL_SECONDS = 1200.0
_EVERY_SECONDS = 1.5
_MOST_STATES = 200


@dataclass(frozen=True)
class Moment:
    """The disk as it was `seconds` after the order; `step` is the installer's word for what it did."""

    seconds: float
    step: str
    state: Path


@dataclass(frozen=True)
class Updated:
    """A box that was updated to `version`, was judged good with it and stands still; and how it came there.

    `key` is an API key from before the update, `channel` the folder that the release came from; the `moments`
    lie beside the disk of `frozen`.
    """

    frozen: Frozen
    version: str
    key: str
    channel: Path
    fetched_bytes: int
    moments: list[Moment]


def update_and_watch(box: Box, channel: ChannelServer, version: str) -> Updated:
    """Updates a claimed box that runs, from a channel that offers `version`."""
    with Visitor(box) as ada:
        ada.sign_in()
        key = ada.make_key("Made before the update")
        choose_channel(ada, channel.url)
        order(box, ada, version, restart="window")
        moments = _watch(box, ada)
        assert "installed, waits for a restart" in history_of(ada.http.get("/updates").text, version)
        fetched, since = channel.sent_bytes, len(box.screen)
        ada.submit("/updates", "/updates/restart", follow=False)
    box.wait_for_console(rf"{re.escape(version)}, slot b", since=since)
    box.wait_until_good(since)
    with Visitor(box) as ada:
        ada.sign_in()
        box.wait_until(
            lambda: "is finding out whether it answers" not in ada.http.get("/updates").text,
            f"release {version} is no longer on trial",
            120,
        )
    return Updated(box.freeze(), version, key, channel.folder, fetched, moments)


def _watch(box: Box, ada: Visitor) -> list[Moment]:
    """The disk at many moments from the order until it is done, and once more then."""
    moments, began = list[Moment](), time.monotonic()
    step = "ordered"
    while step:
        seconds = time.monotonic() - began
        assert seconds < INSTALL_SECONDS, f"the install does not end: {step}"
        moments.append(Moment(seconds, step, keep_state(box)))
        assert len(moments) < _MOST_STATES, "the install does not end"
        time.sleep(max(0.0, began + len(moments) * _EVERY_SECONDS - time.monotonic()))
        step = ada.http.get("/updates.json").json()["cells"].get("step", "")
    return [*moments, Moment(time.monotonic() - began, "installed", keep_state(box))]
