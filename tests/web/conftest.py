"""The application over a real state directory, and visitors of it: anonymous, employee, admin."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from sqlite_utils import Database
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

import webadmin
from appliance.claim import ensure_claim_code
from appliance.host import Host, this_machine
from appliance.models.getting import stopping
from appliance.people import SESSION_COOKIE, Account, Role, create_account, passwords, start_session
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, random_model
from tests.console.conftest import brokering
from tests.web.serving import chromium

PASSWORD = "correct horse battery"
ENTRIES = Path(__file__).with_name("catalogue")
STICK_NAME = "tiny-Q8_0.gguf"
TRANSLATIONS = Path(webadmin.__file__).parent / "translations"


@pytest.fixture(scope="session", autouse=True)
def compiled_translations() -> None:
    """As build.sh does before anything starts."""
    compile_all = [sys.executable, "-m", "babel.messages.frontend", "-q", "compile", "-d", str(TRANSLATIONS)]
    subprocess.run(compile_all, check=True)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a hash is tested in tests/people; here it would be most of the time."""
    monkeypatch.setattr(passwords, "_METHOD", "scrypt:1024:1:1")
    nobody = generate_password_hash("the password of nobody", method="scrypt:1024:1:1")
    monkeypatch.setattr(passwords, "_HASH_OF_NOBODY", nobody)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Real Chromium, one for all tests of a file."""
    with chromium() as started:
        yield started


class Visitor:
    """A browser without scripts: keeps cookies, and sends the form token of the last page it saw."""

    def __init__(self, client: FlaskClient, account: Account | None = None) -> None:
        self.client = client
        self.account = account
        self.token = ""

    def get(self, path: str, **options: object) -> TestResponse:
        return self._seen(self.client.get(path, **options))

    def post(self, path: str, form: Mapping[str, object] | None = None, **options: object) -> TestResponse:
        if not self.token:
            self.get("/account" if self.account else "/sign-in", follow_redirects=True)
        sent = {"csrf_token": self.token, **(form or {})}
        return self._seen(self.client.post(path, data=sent, **options))

    def _seen(self, response: TestResponse) -> TestResponse:
        if found := re.search(r'<meta name="csrf-token" content="([^"]+)"', response.text):
            self.token = found[1]
        return response


@dataclass
class Site:
    """A box's web, with its storage open beside it."""

    settings: Settings
    app: Flask
    db: Database
    activity: Database
    claim_code: str

    def visitor(self) -> Visitor:
        """Nobody in particular, with an English browser."""
        client = self.app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
        return Visitor(client)

    def account(self, name: str, role: Role, *, language: str = "en", initial: bool = False) -> Account:
        """A new account with the password PASSWORD."""
        return create_account(self.db, name, PASSWORD, role, language, must_change_password=initial)

    def signed_in(self, account: Account) -> Visitor:
        """A visitor with a session of `account`, as after sign-in."""
        visitor = self.visitor()
        visitor.account = account
        visitor.client.set_cookie(SESSION_COOKIE, start_session(self.db, account.id).token)
        return visitor


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    """An unclaimed box."""
    stopping.clear()  # a core that ended in this process before
    code = ensure_claim_code(settings)
    assert code
    db, activity = open_cellule(settings.state_dir), open_activity(settings.state_dir)
    yield Site(settings, webadmin.create_app(settings), db, activity, code)
    db.close()
    activity.close()


@pytest.fixture
def admin(site: Site) -> Visitor:
    """A signed-in admin; the box is claimed by that."""
    return site.signed_in(site.account("ana", Role.ADMIN))


@pytest.fixture
def employee(site: Site, admin: Visitor) -> Visitor:
    """A signed-in employee of a claimed box."""
    return site.signed_in(site.account("bob", Role.USER))


def allow_internet(admin: Visitor, **more: str) -> None:
    assert admin.post("/models/internet", {"internet_allowed": "yes", **more}).status_code == 303


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("gguf"), TINY)


@pytest.fixture
def machine(site: Site) -> Iterator[Host]:
    """The simulated machine behind a real broker."""
    host = this_machine(site.settings)
    with brokering(site.settings, host):
        yield host


@pytest.fixture
def stick(site: Site, tiny: Path) -> Path:
    """A plugged stick with one model, and the tests' entries in the catalogue."""
    folder = site.settings.host_dir / "stick"
    folder.mkdir(parents=True)
    shutil.copy(tiny, folder / STICK_NAME)
    shutil.copytree(ENTRIES, site.settings.state_dir / "catalogue")
    return folder
