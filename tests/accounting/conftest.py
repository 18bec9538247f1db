"""A real activity.db."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from appliance.settings import Settings
from appliance.storage import open_activity


@pytest.fixture
def activity(settings: Settings) -> Iterator[Database]:
    database = open_activity(settings.state_dir)
    yield database
    database.close()
