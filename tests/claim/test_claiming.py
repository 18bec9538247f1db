"""The box gets exactly one first admin: whoever holds the code, once, and nobody by guessing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlite_utils import Database

from appliance import claim
from appliance.errors import Refusal
from appliance.people import (
    AccountNameRefused,
    PasswordRefused,
    TooManyAttempts,
    list_accounts,
)
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, transaction

PASSWORD = "correct horse battery"


@dataclass
class Box:
    """A box with its open databases and its code."""

    settings: Settings
    db: Database
    activity: Database
    code: str

    def claim(self, code: str, name: str = "ana", password: str = PASSWORD, address: str = "10.0.0.1") -> str:
        """Claims with its own connections, as a request does; returns the account's name."""
        with open_cellule(self.settings.state_dir) as db, open_activity(self.settings.state_dir) as activity:
            account = claim.claim_box(
                db,
                activity,
                self.settings,
                code=code,
                name=name,
                password=password,
                language="fr",
                address=address,
            )
        return account.name


@pytest.fixture
def box(settings: Settings) -> Iterator[Box]:
    code = claim.ensure_claim_code(settings)
    assert code is not None
    db, activity = open_cellule(settings.state_dir), open_activity(settings.state_dir)
    yield Box(settings, db, activity, code)
    db.close()
    activity.close()


def test_the_code_makes_the_first_admin_and_is_gone(box: Box) -> None:
    assert not claim.is_claimed(box.db)
    box.claim(box.code)
    [account] = list_accounts(box.db)
    assert (account.name, account.is_admin, account.language) == ("ana", True, "fr")
    assert claim.is_claimed(box.db)
    assert list(box.settings.secrets_dir.iterdir()) == []
    assert claim.read_claim_code(box.settings) is None


def test_the_code_is_for_the_service_user_alone_and_stays_until_claimed(box: Box) -> None:
    path = box.settings.secrets_dir / "claim-code"
    assert path.stat().st_mode & 0o777 == 0o600
    assert claim.ensure_claim_code(box.settings) == box.code
    assert [part.isalnum() and len(part) for part in box.code.split("-")] == [4, 4, 4, 4]


def test_processes_starting_together_agree_on_one_code(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        codes = set(threads.map(lambda _: claim.ensure_claim_code(settings), range(16)))
    assert len(codes) == 1
    assert codes == {claim.read_claim_code(settings)}


def test_the_code_may_be_typed_as_people_type(box: Box) -> None:
    typed = f" {box.code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert box.claim(typed) == "ana"


@pytest.mark.parametrize("wrong", ["", "0000-0000-0000-0000", "é", "\udcff", "x" * 10_000])
def test_a_wrong_code_claims_nothing(box: Box, wrong: str) -> None:
    with pytest.raises(claim.WrongClaimCode):
        box.claim(wrong)
    assert not claim.is_claimed(box.db)


def test_without_a_code_file_nothing_matches(box: Box) -> None:
    (box.settings.secrets_dir / "claim-code").unlink()
    for code in ("", box.code):
        with pytest.raises(claim.WrongClaimCode):
            box.claim(code)


def test_a_refused_name_or_password_leaves_the_code_usable(box: Box) -> None:
    with pytest.raises(AccountNameRefused):
        box.claim(box.code, name="a b")
    with pytest.raises(PasswordRefused):
        box.claim(box.code, password="short")
    assert box.claim(box.code) == "ana"


def test_a_claimed_box_cannot_be_claimed_again(box: Box) -> None:
    box.claim(box.code)
    with pytest.raises(claim.AlreadyClaimed):
        box.claim(box.code, name="eve")
    assert claim.ensure_claim_code(box.settings) is None


def test_disabling_every_admin_does_not_open_the_box_to_a_new_claim(box: Box) -> None:
    box.claim(box.code)
    [account] = list_accounts(box.db)
    with transaction(box.db):
        box.db.execute("UPDATE accounts SET disabled_at = 1 WHERE id = ?", [account.id])
    assert claim.is_claimed(box.db)
    assert claim.ensure_claim_code(box.settings) is None


def test_of_many_claims_at_once_one_succeeds(box: Box) -> None:
    def attempt(number: int) -> Refusal | str:
        try:
            return box.claim(box.code, name=f"admin{number}", address=f"10.0.0.{number}")
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(attempt, range(8)))
    winners = [result for result in results if isinstance(result, str)]
    assert len(winners) == 1
    assert [account.name for account in list_accounts(box.db)] == winners
    losers = {type(result) for result in results if not isinstance(result, str)}
    # the file is removed a moment after the commit; a late one may find either already
    assert losers <= {claim.AlreadyClaimed, claim.WrongClaimCode}


def test_guessing_is_throttled_per_address_and_the_owner_still_gets_in(box: Box) -> None:
    for _ in range(10):
        with pytest.raises(claim.WrongClaimCode):
            box.claim("0000-0000-0000-0000", address="10.0.0.66")
    with pytest.raises(TooManyAttempts):
        box.claim(box.code, address="10.0.0.66")
    assert box.claim(box.code, address="10.0.0.1") == "ana"
