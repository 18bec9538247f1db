"""Thousands of odd requests to every page as every visitor: never a 5xx, never a stranger inside."""

import random
import string
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
from werkzeug.routing import Rule

from appliance.host.simulated import SimulatedHost
from appliance.people import SESSION_COOKIE, Role, account_of_session, list_accounts
from tests.console.conftest import brokering
from tests.web.conftest import Site, Visitor

REQUESTS_PER_VISITOR = 1000
METHODS = ("GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
ODD = (
    "",
    " ",
    "\x00",
    "\udcff",
    "\ufeff\u202e",
    "é" * 300,
    "A" * 20_000,
    "-1",
    "0",
    "1e309",
    "NaN",
    "٣",
    "9" * 400,
    "' OR 1=1 --",
    "%s%(x)s{0}%%",
    "<script>alert(1)</script>",
    "{{ 7*7 }}",
    "../../../etc/passwd",
    "never",
    "90",
    "900",
    "fr",
    "admin",
    "null",
    "[]",
    "ana",
    "//x",
    "/keys?\r\nSet-Cookie: a=b",
)
FIELDS = (
    "name",
    "password",
    "code",
    "language",
    "next",
    "label",
    "valid_for",
    "expiry",
    "role",
    "current",
    "new",
    "x",
    "hostname",
    "timezone",
    "typed",
    "days",
    "begins",
    "ends",
    "method",
    "address",
)
FIELDS_OF_WEIGHT = (*FIELDS, "short_code", "csrf_token", "name[]", "")


class Fuzzer:
    """Draws requests from one seed."""

    def __init__(self, seed: int, rules: list[Rule], ids: list[str]) -> None:
        self.draw = random.Random(seed)
        self.rules = rules
        self.ids = ids

    def value(self) -> str:
        if self.draw.random() < 0.7:
            return self.draw.choice(ODD)
        return "".join(self.draw.choices(string.printable + "éß漢😀\u0000", k=self.draw.randint(1, 40)))

    def path(self) -> str:
        if self.draw.random() < 0.1:
            return "/" + self.value()[:300].replace("?", "")
        parts = self.draw.choice(self.rules).rule.split("/")
        return "/".join(
            self.draw.choice([*self.ids, self.value()[:200]]) if part.startswith("<") else part
            for part in parts
        )

    def form(self, token: str) -> dict[str, str]:
        fields = {self.draw.choice(FIELDS_OF_WEIGHT): self.value() for _ in range(self.draw.randint(0, 5))}
        return fields if self.draw.random() < 0.05 else fields | {"csrf_token": token}

    def query(self) -> dict[str, str]:
        return {self.draw.choice(FIELDS): self.value() for _ in range(self.draw.choice([0, 0, 1, 2]))}

    def headers(self) -> dict[str, str]:
        if self.draw.random() < 0.8:
            return {}
        name = self.draw.choice(
            ["Accept-Language", "Referer", "Cookie", "X-Forwarded-For", "Content-Type", "Host"]
        )
        return {name: "".join(c for c in self.value()[:500] if c.isascii() and c.isprintable())}


@pytest.fixture
def broker(site: Site) -> Iterator[None]:
    """Behind the pages of the machine: without one they would answer 503 before they look at a form."""
    host = SimulatedHost(site.settings.wireguard_key_path, site.settings.host_dir)
    with brokering(site.settings, host):
        yield


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("who", ["anonymous", "employee", "admin"])
def test_no_request_breaks_a_page(site: Site, who: str, caplog: pytest.LogCaptureFixture) -> None:
    owner = site.account("owner", Role.ADMIN)
    visitor, other = visitor_of(site, who), site.account("other", Role.USER)
    rules = [rule for rule in site.app.url_map.iter_rules() if rule.endpoint != "signin.sign_out"]
    fuzzer = Fuzzer(len(who), rules, [owner.id, other.id, "x", "name", "updates", "recovery-key"])
    seen: dict[int, int] = {}
    for number in range(REQUESTS_PER_VISITOR):
        answer = visitor.client.open(
            f"/?{encoded(fuzzer.query())}",
            method=fuzzer.draw.choice(METHODS),
            data=encoded(fuzzer.form(visitor.token)),
            headers={"Content-Type": "application/x-www-form-urlencoded"} | fuzzer.headers(),
            # as a server hands it over (PEP 3333), also what the client would not let through
            environ_overrides={
                "PATH_INFO": fuzzer.path().encode("utf-8", "surrogateescape").decode("latin-1")
            },
        )
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, f"request {number}: {answer.request.method} {answer.request.url!r}"
        assert urlsplit(answer.headers.get("Location", "/")).netloc in {"", answer.request.host}
        if number % 50 == 0:
            visitor = keep_signed_in(site, who, visitor)
    assert "unforeseen error" not in caplog.text
    assert set(seen) >= {200, 303, 404, 405} and {400, 401, 403} & set(seen)
    if who != "admin":
        assert {account.name for account in list_accounts(site.db)} <= {"owner", "other", "somebody"}
    # what is left still works
    fresh = site.signed_in(site.account("fresh.admin", Role.ADMIN))
    for page in ("/overview", "/workers", "/keys", "/people", "/overview.json", "/workers.json"):
        assert fresh.get(page).status_code == 200


def encoded(fields: dict[str, str]) -> str:
    """As a browser writes them; lone surrogates become bytes that are no UTF-8."""
    return urlencode(fields, errors="surrogateescape")


def visitor_of(site: Site, who: str) -> Visitor:
    if who == "anonymous":
        visitor = site.visitor()
    else:
        names = {account.name: account for account in list_accounts(site.db)}
        role = Role.ADMIN if who == "admin" else Role.USER
        visitor = site.signed_in(names.get("somebody") or site.account("somebody", role))
    visitor.get("/account", follow_redirects=True)
    assert visitor.token
    return visitor


def keep_signed_in(site: Site, who: str, visitor: Visitor) -> Visitor:
    """A new sign-in after odd cookies or a language switch; the form's token stays fresh."""
    cookie = visitor.client.get_cookie(SESSION_COOKIE)
    if who != "anonymous" and not (cookie and account_of_session(site.db, cookie.value)):
        return visitor_of(site, who)
    visitor.get("/account", follow_redirects=True)
    return visitor
