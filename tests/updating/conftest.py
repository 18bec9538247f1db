"""A vendor with a channel, and a web server in front of it."""

from collections.abc import Iterator
from datetime import time
from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.updating.choice import UpdateChoice
from appliance.updating.window import Window
from tests.updating.box import Box
from tests.updating.serving import ChannelServer, serving
from tests.updating.vendor import DAY, Vendor
from tests.web.conftest import browser

__all__ = ["browser"]

ALWAYS = Window(begins=time(0), ends=time(0))


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path / "vendor")


@pytest.fixture
def server(vendor: Vendor) -> Iterator[ChannelServer]:
    vendor.channel.mkdir(exist_ok=True)
    with serving(vendor.channel) as started:
        yield started


@pytest.fixture
def box(settings: Settings, vendor: Vendor) -> Iterator[Box]:
    """A box that trusts the vendor, a day after the keys were made."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        made = Box(settings, db, activity, vendor.at + DAY)
        made.trust(vendor)
        yield made


@pytest.fixture
def connected(box: Box, server: ChannelServer) -> Box:
    """A box with a channel, whose window is always open."""
    box.choose(UpdateChoice(channel_url=server.url, window=ALWAYS))
    return box
