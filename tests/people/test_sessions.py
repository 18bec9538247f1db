"""Sessions end: at sign-out, at their hour, with their account's password, with their account."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from appliance import people
from appliance.people import Account, Role, sessions
from appliance.settings import Settings
from appliance.storage import open_cellule

PASSWORD = "correct horse battery"


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = open_cellule(settings.state_dir)
    yield database
    database.close()


@pytest.fixture
def ana(db: Database) -> Account:
    people.create_account(db, "root", PASSWORD, Role.ADMIN, "en")
    return people.create_account(db, "ana", PASSWORD, Role.USER, "en")


def test_opens_and_ends(db: Database, ana: Account) -> None:
    token = people.start_session(db, ana.id).token
    assert people.account_of_session(db, token) == ana
    people.end_session(db, token)
    assert people.account_of_session(db, token) is None


def test_storage_knows_only_the_hash(db: Database, settings: Settings, ana: Account) -> None:
    token = people.start_session(db, ana.id).token
    assert len(token) >= 43
    stored = b"".join(path.read_bytes() for path in settings.state_dir.glob("cellule.db*"))
    assert token.encode() not in stored
    assert people.hash_secret(token).encode() in stored


def test_ends_twelve_hours_later(db: Database, ana: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    session = people.start_session(db, ana.id)
    monkeypatch.setattr(sessions, "now", lambda: session.expires_at - 1)
    assert people.account_of_session(db, session.token) == ana
    monkeypatch.setattr(sessions, "now", lambda: session.expires_at)
    assert people.account_of_session(db, session.token) is None
    people.forget_old_sessions(db)
    assert db["sessions"].count == 0


def test_signing_in_again_ends_the_session_that_came_along(db: Database, ana: Account) -> None:
    first = people.start_session(db, ana.id).token
    elsewhere = people.start_session(db, ana.id).token
    second = people.start_session(db, ana.id, replaces=first).token
    assert people.account_of_session(db, first) is None
    assert people.account_of_session(db, elsewhere) == ana
    assert people.account_of_session(db, second) == ana


def test_a_new_password_or_a_disabled_account_ends_them_all(db: Database, ana: Account) -> None:
    first = people.start_session(db, ana.id).token
    people.change_password(db, ana, PASSWORD, "another horse battery")
    assert people.account_of_session(db, first) is None
    second = people.start_session(db, ana.id).token
    people.disable_account(db, ana.id)
    people.enable_account(db, ana.id)
    assert people.account_of_session(db, second) is None


@pytest.mark.parametrize("token", ["", "x", "é" * 500, "\udcff", "' OR 1=1 --"])
def test_nonsense_opens_nothing(db: Database, ana: Account, token: str) -> None:
    people.start_session(db, ana.id)
    assert people.account_of_session(db, token) is None


def test_an_initial_password_opens_no_session_for_the_api_until_it_is_replaced(db: Database) -> None:
    new = people.create_account(db, "new", PASSWORD, Role.USER, "en", must_change_password=True)
    token = people.start_session(db, new.id).token
    assert people.hash_secret(token) not in people.load_callers(db).by_session_hash
    people.change_password(db, new, PASSWORD, "known to nobody else")
    token = people.start_session(db, new.id).token
    assert people.hash_secret(token) in people.load_callers(db).by_session_hash
