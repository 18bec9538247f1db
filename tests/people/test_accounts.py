"""Accounts in a real database file: names that can't be confused, and always somebody who can run the box."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from appliance import people
from appliance.people import Account, Role
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
    return people.create_account(db, "Ana", PASSWORD, Role.ADMIN, "fr")


def test_finds_an_account_in_any_spelling_of_its_name(db: Database, ana: Account) -> None:
    assert ana.name == "ana"
    for spelling in ("ana", " ANA ", "ａｎａ"):
        assert people.find_account(db, spelling) == ana
    assert people.get_account(db, ana.id) == ana


@pytest.mark.parametrize("name", ["", "a", "x" * 65, "an a", "-ana", "ana\n", "ana<b>", ":claim", "ana\x00x"])
def test_refuses_names_that_cannot_be_typed(db: Database, name: str) -> None:
    if name.strip() == "ana":
        assert people.checked_name(name) == "ana"
        return
    with pytest.raises(people.AccountNameRefused):
        people.create_account(db, name, PASSWORD, Role.USER, "en")


def test_a_name_belongs_to_one_account(db: Database, ana: Account) -> None:
    with pytest.raises(people.AccountNameTaken):
        people.create_account(db, "ANA", PASSWORD, Role.USER, "en")
    assert people.list_accounts(db) == [ana]


def test_authenticates_only_the_right_password_of_an_enabled_account(db: Database, ana: Account) -> None:
    people.create_account(db, "bob", PASSWORD, Role.ADMIN, "en")
    assert people.authenticate(db, "ANA", PASSWORD) == ana
    assert people.authenticate(db, "ana", PASSWORD + "!") is None
    assert people.authenticate(db, "nobody", PASSWORD) is None
    people.disable_account(db, ana.id)
    assert people.authenticate(db, "ana", PASSWORD) is None
    people.enable_account(db, ana.id)
    assert people.authenticate(db, "ana", PASSWORD) is not None


def test_the_last_admin_stays(db: Database, ana: Account) -> None:
    user = people.create_account(db, "bob", PASSWORD, Role.USER, "en")
    with pytest.raises(people.LastAdmin):
        people.disable_account(db, ana.id)
    second = people.create_account(db, "eve", PASSWORD, Role.ADMIN, "en")
    people.disable_account(db, ana.id)
    with pytest.raises(people.LastAdmin):
        people.disable_account(db, second.id)
    people.disable_account(db, user.id)


def test_a_reset_gives_a_password_for_one_use(db: Database, ana: Account) -> None:
    initial = people.reset_password(db, ana.id)
    assert people.authenticate(db, "ana", PASSWORD) is None
    account = people.authenticate(db, "ana", initial)
    assert account is not None
    assert account.must_change_password
    with pytest.raises(people.PasswordUnchanged):
        people.change_password(db, account, initial, initial)
    assert people.get_account(db, ana.id).must_change_password
    people.change_password(db, account, initial, "another horse battery")
    changed = people.authenticate(db, "ana", "another horse battery")
    assert changed is not None
    assert not changed.must_change_password


def test_a_new_password_needs_the_old_one(db: Database, ana: Account) -> None:
    with pytest.raises(people.WrongPassword):
        people.change_password(db, ana, "wrong", "another horse battery")
    with pytest.raises(people.PasswordRefused):
        people.change_password(db, ana, PASSWORD, "short")
    assert people.authenticate(db, "ana", PASSWORD) is not None


def test_initial_passwords_keep_the_rules_and_differ() -> None:
    # two letters stand in every sixtieth random password
    made = {people.make_initial_password(" AB") for _ in range(1000)}
    assert len(made) == 1000
    assert all(people.broken_rules(password, "ab") == () for password in made)
    assert people.make_initial_password("-"), "no name at all, refused elsewhere"


def test_unknown_ids_are_refused(db: Database) -> None:
    for act in (people.get_account, people.reset_password, people.disable_account, people.enable_account):
        with pytest.raises(people.AccountUnknown):
            act(db, "nobody")


def test_no_password_is_in_the_files(db: Database, settings: Settings, ana: Account) -> None:
    initial = people.reset_password(db, ana.id)
    stored = b"".join(path.read_bytes() for path in settings.state_dir.glob("cellule.db*"))
    assert b"ana" in stored
    assert PASSWORD.encode() not in stored
    assert initial.encode() not in stored
