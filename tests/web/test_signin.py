"""Signing in and out: slow to guess, silent about who exists, and it leads nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.people import SESSION_COOKIE, Role
from tests.web.conftest import PASSWORD, Site
from webadmin.languages import local_path


def cookie_of(site_client: object) -> str | None:
    cookie = site_client.get_cookie(SESSION_COOKIE)  # type: ignore[attr-defined]
    return cookie.value if cookie else None


def test_signs_in_and_out(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    answer = visitor.post("/sign-in", {"name": " Ana ", "password": PASSWORD})
    assert (answer.status_code, answer.location) == (303, "/")
    token = cookie_of(visitor.client)
    assert token
    assert visitor.get("/overview").status_code == 200
    answer = visitor.post("/sign-out")
    assert answer.location == "/sign-in"
    assert answer.headers["Clear-Site-Data"] == '"storage"', "conversations in other tabs go too"
    assert cookie_of(visitor.client) is None
    visitor.client.set_cookie(SESSION_COOKIE, token)
    assert visitor.get("/overview").status_code == 303, "the session ended in storage too"


def test_each_sign_in_has_a_session_of_its_own(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    visitor.client.set_cookie(SESSION_COOKIE, "planted-by-somebody-else")
    visitor.post("/sign-in", {"name": "ana", "password": PASSWORD})
    first = cookie_of(visitor.client)
    assert first != "planted-by-somebody-else"
    visitor.get("/account")
    visitor.post("/sign-in", {"name": "ana", "password": PASSWORD})
    assert cookie_of(visitor.client) not in {first, None}
    assert site.db["sessions"].count == 1


def test_unknown_names_and_wrong_passwords_look_alike(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    answers = [
        site.visitor()
        .post("/sign-in", {"name": name, "password": "wrong"})
        .text.split('name="csrf-token"')[1][150:]
        for name in ("ana", "eva")
    ]
    assert answers[0].count("Name or password is wrong.") == 1
    assert len(answers[0]) == len(answers[1])


def test_too_many_tries_have_to_wait_even_with_the_right_password(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    for _ in range(5):
        assert visitor.post("/sign-in", {"name": "ana", "password": "wrong"}).status_code == 401
    answer = visitor.post("/sign-in", {"name": "ANA", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) <= 5
    assert "Too many wrong attempts" in answer.text


def test_the_address_is_the_one_the_pool_saw(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    spoofed = {"X-Forwarded-For": "6.6.6.6, 10.1.2.3", "X-Forwarded-Host": "box", "X-Forwarded-Proto": "http"}
    visitor.post("/sign-in", {"name": "ana", "password": "wrong"}, headers=spoofed)
    [row] = site.activity["sign_in_attempts"].rows
    assert row["address"] == "10.1.2.3"
    assert row["name"] == "ana"


def test_comes_back_to_the_page_that_was_asked_for(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    asked = visitor.get("/keys?a=1")
    assert asked.location == "/sign-in?next=/keys?a%3D1"
    assert 'name="next" value="/keys?a=1"' in visitor.get(asked.location).text
    answer = visitor.post("/sign-in", {"name": "ana", "password": PASSWORD, "next": "/keys?a=1"})
    assert answer.location == "/keys?a=1"


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n//evil.example",
    "javascript:alert(1)",
    "evil.example",
    " //evil.example",
    "http:evil.example",
    "//[evil",
    "",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_never_leads_to_another_site(site: Site, target: str) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    assert visitor.post("/language", {"language": "fr", "next": target}).location == "/sign-in"
    form = {"name": "ana", "password": PASSWORD, "next": target}
    assert visitor.post("/sign-in", form).location == "/"
    assert visitor.get("/sign-in", query_string={"next": target}).location == "/overview"


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("/\\.:@?#ae%\t\n []"), max_size=12))
def test_a_local_path_starts_with_exactly_one_slash(target: str) -> None:
    path = local_path(target)
    if path is not None:
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        assert path.isprintable()


def test_a_second_tab_with_an_old_form_signs_nobody_in_and_leads_on(site: Site) -> None:
    site.account("ana", Role.ADMIN)
    visitor = site.visitor()
    visitor.get("/sign-in")
    form = {"name": "ana", "password": PASSWORD, "csrf_token": "of another session", "next": "/keys"}
    again = visitor.post("/sign-in", form)
    assert again.status_code == 400
    assert "too old" in again.text and 'value="ana"' in again.text
    assert visitor.get("/overview").location.startswith("/sign-in"), "an old form opens no session"
    assert visitor.post("/sign-in", {"name": "ana", "password": PASSWORD}).status_code == 303
    before = visitor.client.get_cookie(SESSION_COOKIE)
    assert visitor.post("/sign-in", form).location == "/keys"
    assert visitor.client.get_cookie(SESSION_COOKIE) == before, "nor does it replace the one there is"
