"""The claim page: the first visitor with the code owns the box, in their language."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.people import SESSION_COOKIE, Role, list_accounts
from tests.web.conftest import PASSWORD, Site


def form(site: Site, **changes: str) -> dict[str, str]:
    return {"code": site.claim_code, "name": "ana", "password": PASSWORD, "language": "fr"} | changes


def test_claims_and_is_signed_in_at_once(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.get("/claim").status_code == 200
    answer = visitor.post("/claim", form(site))
    assert (answer.status_code, answer.location) == (303, "/overview")
    assert "Aperçu" in visitor.get("/overview").text
    [account] = list_accounts(site.db)
    assert (account.name, account.role, account.language) == ("ana", Role.ADMIN, "fr")
    assert visitor.get("/claim").location == "/overview"
    assert site.visitor().get("/claim").location == "/sign-in"


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"code": "0000-0000-0000-0000"}, 403, "This is not the claim code of this box."),
        ({"name": "a b"}, 400, "An account name has 2 to 64 characters"),
        ({"password": "ana-ana-ana-ana"}, 400, "Does not contain the account name"),
        ({"password": "short"}, 400, "At least 12 characters"),
        ({"password": ""}, 400, "At least 12 characters"),
    ],
)
def test_says_what_is_wrong_and_keeps_what_was_typed(
    site: Site, changes: dict[str, str], status: int, sentence: str
) -> None:
    answer = site.visitor().post("/claim", form(site, **changes))
    assert answer.status_code == status
    assert sentence in answer.text
    assert f'value="{form(site, **changes)["name"]}"' in answer.text
    assert changes.get("password") or PASSWORD not in answer.text
    assert list_accounts(site.db) == []


def test_a_second_claim_is_told_so(site: Site) -> None:
    late = site.visitor()
    late.get("/claim")
    site.visitor().post("/claim", form(site))
    answer = late.post("/claim", form(site, name="eve"))
    assert answer.status_code == 409
    assert "already has an admin" in answer.text


def test_eight_claims_at_the_same_moment_yield_one_admin(site: Site) -> None:
    visitors = [site.visitor() for _ in range(8)]
    for visitor in visitors:
        visitor.get("/claim")

    def claim(number: int) -> int:
        return visitors[number].post("/claim", form(site, name=f"admin{number}")).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(claim, range(8)))
    assert statuses[0] == 303
    assert set(statuses[1:]) <= {403, 409}
    assert len(list_accounts(site.db)) == 1
    assert sum(visitor.client.get_cookie(SESSION_COOKIE) is not None for visitor in visitors) == 1


def test_guesses_have_to_wait(site: Site) -> None:
    visitor = site.visitor()
    for _ in range(10):
        assert visitor.post("/claim", form(site, code="x")).status_code == 403
    answer = visitor.post("/claim", form(site))
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
