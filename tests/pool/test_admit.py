"""Who gets in: keys by their hash, sessions only from the box's own pages, budgets by the minute."""

import hashlib

import httpx2 as httpx
import pytest

from appliance.clock import now
from appliance.people.api_keys import Caller, list_api_keys, revoke_api_key
from appliance.pool.admit import Budgets
from appliance.storage import transaction
from tests.pool.conftest import Box
from tests.waiting import wait_until


def refusal(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"]


def wait_for_status(box: Box, secret: str, status: int, *, within_seconds: float) -> httpx.Response:
    def answered() -> httpx.Response | None:
        response = box.get("/v1/models", authorization=f"Bearer {secret}")
        return response if response.status_code == status else None

    return wait_until(answered, within_seconds=within_seconds, what=f"the key gets {status}")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, "missing_api_key")),
        ({"authorization": "Bearer"}, (401, "missing_api_key")),
        ({"authorization": "Basic dTpw"}, (401, "missing_api_key")),
        ({"authorization": "Bearer sk-cellule-unknown"}, (401, "invalid_api_key")),
        ({"cookie": "cellule_session=unknown"}, (401, "invalid_api_key")),
    ],
)
def test_without_a_valid_key_nothing_is_told(
    box: Box, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    for path in ("/v1/models", "/v1/nothing"):
        response = httpx.get(f"{box.url}{path}", headers=headers)
        assert refusal(response) == expected
    assert f'cellule_pool_turned_away_total{{code="{expected[1]}"}}' in box.metrics()


def test_an_expired_key_is_told_so(box: Box) -> None:
    key = box.new_key("short", expires_at=now() + 1.0)
    assert refusal(wait_for_status(box, key.secret, 401, within_seconds=3)) == (401, "api_key_expired")


def test_a_revoked_key_is_gone_within_two_seconds(box: Box) -> None:
    key = box.new_key("leaver")
    revoke_api_key(box.cellule(), key.record.id)
    assert refusal(wait_for_status(box, key.secret, 401, within_seconds=2)) == (401, "api_key_revoked")


def test_the_key_of_a_disabled_account_is_forbidden_not_unknown(box: Box) -> None:
    db = box.cellule()
    with transaction(db):
        db.execute(
            "INSERT INTO accounts (id, name, password_hash, role, created_at)"
            " VALUES ('gone', 'gone', '', 'user', 0)"
        )
    key = box.new_key("of the gone")
    with transaction(db):
        db.execute("UPDATE api_keys SET account_id = 'gone' WHERE id = ?", [key.record.id])
        db.execute("UPDATE accounts SET disabled_at = 1 WHERE id = 'gone'")
    assert refusal(wait_for_status(box, key.secret, 403, within_seconds=2)) == (403, "forbidden")


def test_a_key_is_stored_as_a_hash_and_shown_once(box: Box) -> None:
    key = box.new_key("secret")
    stored = [path.read_bytes() for path in box.settings.state_dir.glob("*.db*")]
    assert key.secret.startswith("sk-cellule-") and len(key.secret) > 50
    assert not any(key.secret.encode() in data for data in stored)
    assert any(hashlib.sha256(key.secret.encode()).hexdigest().encode() in data for data in stored)
    assert key.secret not in repr(key) and key.secret not in box.log
    listed = next(record for record in list_api_keys(box.cellule()) if record.id == key.record.id)
    assert listed == key.record and key.secret.startswith(listed.prefix)


@pytest.fixture
def session(box: Box) -> str:
    """A signed-in browser's cookie."""
    token = "a-session-token"
    db = box.cellule()
    with transaction(db):
        db.execute(
            "INSERT OR IGNORE INTO accounts (id, name, password_hash, role, created_at)"
            " VALUES ('u', 'u', '', 'user', 0)"
        )
        db.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, 'u', 0, ?)",
            [hashlib.sha256(token.encode()).hexdigest(), now() + 60],
        )
    cookie = f"other=1; cellule_session={token}"
    wait_until(
        lambda: (
            box.get("/v1/models", **{"cookie": cookie, "sec-fetch-site": "same-origin"}).status_code == 200
        ),
        within_seconds=2,
        what="the pool knows the session",
    )
    return cookie


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "content-type": "application/json"}, 200),
        ({"origin": "THE BOX", "content-type": "application/json; charset=utf-8"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "THE BOX", "content-type": "application/json"}, 403),
        ({"origin": "http://evil.example", "content-type": "application/json"}, 403),
        ({"origin": "http://[", "content-type": "application/json"}, 403),
        ({"sec-fetch-site": "same-origin", "content-type": "text/plain"}, 403),
        ({"content-type": "application/json"}, 403),
    ],
)
def test_a_session_is_good_only_from_the_boxs_own_pages(
    box: Box, session: str, headers: dict[str, str], status: int
) -> None:
    box.engine("paged")
    headers = {name: value.replace("THE BOX", box.url) for name, value in headers.items()}
    response = httpx.post(
        f"{box.url}/v1/chat/completions",
        content=b'{"model":"paged","messages":[{"role":"user","content":"hello"}]}',
        headers={"cookie": session, **headers},
    )
    assert response.status_code == status, response.text


def test_what_a_session_asks_is_on_its_accounts_ledger(box: Box, session: str) -> None:
    box.engine("account-line")
    httpx.post(
        f"{box.url}/v1/chat/completions",
        json={"model": "account-line", "messages": [{"role": "user", "content": "hello"}]},
        headers={"cookie": session, "sec-fetch-site": "same-origin"},
    ).raise_for_status()
    (line,) = box.ledger(1, "model = 'account-line'")
    assert (line["account_id"], line["key_id"]) == ("u", None)


def test_a_key_over_its_rate_gets_429_with_the_usual_headers(box: Box) -> None:
    box.engine("rated")
    key = box.new_key("rated", requests_per_minute=2)
    first = box.chat("rated", secret=key.secret)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert box.chat("rated", secret=key.secret).status_code == 200
    refused = box.chat("rated", secret=key.secret)
    assert refusal(refused) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 31
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert float(refused.headers["x-ratelimit-reset-requests"].removesuffix("s")) > 30
    lines = box.ledger(3, "key_id = ?", key.record.id)
    assert [(line["outcome"], line["status"]) for line in lines] == [
        ("answered", 200), ("answered", 200), ("refused", 429),
    ]  # fmt: skip


def test_a_budget_refills_evenly() -> None:
    caller = Caller("key:1", "1", None, 60, None, None, False)
    budgets = Budgets()
    for _ in range(60):
        state = budgets.take(caller, at=100.0)
        assert state is not None and not state.retry_after_seconds
    empty = budgets.take(caller, at=100.0)
    assert empty is not None and empty.retry_after_seconds == pytest.approx(1.0)
    later = budgets.take(caller, at=101.0)
    assert later is not None and not later.retry_after_seconds
