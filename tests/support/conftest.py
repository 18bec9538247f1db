"""A vendor with keys of its own, and a box that takes it for its vendor."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.people import Account, Role, create_account
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.support.vendor import make_vendor_keys
from tests.web.conftest import browser

__all__ = ["browser"]

ENDPOINT = "10.99.0.2:51999"
REASON = "Chat answers slowly since Monday"


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """The folder with the vendor's keys."""
    folder = tmp_path / "vendor"
    make_vendor_keys(folder)
    return folder


@pytest.fixture
def settings(settings: Settings, vendor: Path) -> Settings:
    return settings.model_copy(update={"vendor_support_file": vendor / "support.pub"})


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    with open_cellule(settings.state_dir) as opened:
        yield opened


@pytest.fixture
def activity(settings: Settings) -> Iterator[Database]:
    with open_activity(settings.state_dir) as opened:
        yield opened


@pytest.fixture
def ana(db: Database) -> Account:
    return create_account(db, "ana", "correct horse battery", Role.ADMIN, "en")
