"""API keys as their makers meet them: what is refused, what a list shows, what revoking does."""

from pathlib import Path

import pytest

from appliance.clock import now
from appliance.people.api_keys import (
    BadApiKeyRequest,
    UnknownApiKey,
    create_api_key,
    hash_secret,
    list_api_keys,
    load_callers,
    revoke_api_key,
)
from appliance.storage import open_cellule


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "Ana\x00"}, "name"),
        ({"name": "\u202enoitcudorp"}, "name"),  # would be shown as another name
        ({"expires_at": 1.0}, "expires_at"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"account_id": "nobody"}, "account_id"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(tmp_path: Path, given: dict[str, object], param: str) -> None:
    db = open_cellule(tmp_path)
    with pytest.raises(BadApiKeyRequest) as refused:
        create_api_key(db, **({"name": "x", "account_id": None} | given))  # type: ignore[arg-type]
    assert refused.value.param == param
    assert list_api_keys(db) == []


def test_two_keys_of_one_name_differ_and_the_newest_is_listed_first(tmp_path: Path) -> None:
    db = open_cellule(tmp_path)
    first, second = (create_api_key(db, "same", account_id=None) for _ in range(2))
    assert first.secret != second.secret and first.record.prefix != second.record.prefix
    assert [key.id for key in list_api_keys(db)] == [second.record.id, first.record.id]


def test_revoking_is_remembered_with_its_first_time_and_may_be_repeated(tmp_path: Path) -> None:
    db = open_cellule(tmp_path)
    key = create_api_key(db, "x", account_id=None, expires_at=now() + 60, requests_per_minute=5)
    revoke_api_key(db, key.record.id)
    (revoked,) = list_api_keys(db)
    revoke_api_key(db, key.record.id)
    assert list_api_keys(db) == [revoked] and revoked.revoked_at is not None
    caller = load_callers(db).by_key_hash[hash_secret(key.secret)]
    assert caller.revoked_at == revoked.revoked_at and caller.requests_per_minute == 5
    with pytest.raises(UnknownApiKey):
        revoke_api_key(db, "nothing")
