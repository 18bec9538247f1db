"""An admin's first day in real Chromium, through the real pool: at a desk and on a phone."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance import enrolment, people
from appliance.claim import ensure_claim_code
from appliance.people import Role
from appliance.people.passwords import COMMON, LONGEST_PASSWORD, SHORTEST_PASSWORD, broken_rules
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, transaction
from tests.accounting.ledger import add_line
from tests.conftest import free_port
from tests.web.serving import Watch, overflow_pixels, served

PASSWORD = "correct horse battery"
AUDIT = Path(__file__).with_name("audit.js").read_text()
DESK = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "locale": "fr-FR",
    "color_scheme": "dark",
    "has_touch": True,
}
NARROW = {"viewport": {"width": 360, "height": 740}, "locale": "fr-FR", "color_scheme": "light"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running box; its processes serve all tests of this file."""
    folder = tmp_path_factory.mktemp("box")
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    with served(settings):
        yield settings


@pytest.fixture
def settings(box: Settings) -> Settings:
    """The running box as on its first day: storage is emptied beneath its processes."""
    for opened in (open_cellule, open_activity):
        with opened(box.state_dir) as db, transaction(db):
            db.execute("PRAGMA defer_foreign_keys = ON")
            for table in set(db.table_names()) - {"migrations"}:
                db.execute(f"DELETE FROM {table}")
    ensure_claim_code(box)
    return box


@pytest.fixture
def site(settings: Settings) -> str:
    return settings.base_url


class Visit:
    """One browser window; `arrived` checks what every page must keep, and takes its picture."""

    def __init__(self, browser: Browser, base_url: str, folder: Path, options: Mapping[str, Any]) -> None:
        self.context = browser.new_context(base_url=base_url, **options)
        if base_url.startswith("http://127."):
            self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base_url)
        self.watch = Watch(self.context, base_url)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.folder = folder

    def arrived(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)
        assert overflow_pixels(self.page) == 0, f"{name} scrolls sideways"
        assert self.page.evaluate(AUDIT) == [], name
        assert self.watch.troubles == [], name

    def clipboard(self) -> str:
        return str(self.page.evaluate("navigator.clipboard.readText()"))


def seed_pending_worker(settings: Settings, name: str = "pc-12") -> None:
    """What a worker's redemption leaves in storage, for the invitation that the page made."""
    with open_cellule(settings.state_dir) as db, transaction(db):
        [invitation] = enrolment.list_invitations(db)
        facts = json.dumps(
            {"name": "pc-12", "os": "Debian 12", "cpu": "Ryzen 7", "cores": 8, "memory_bytes": 2**35}
        )
        db.execute(
            "INSERT INTO workers"
            " (id, name, public_key, invitation_id, state, short_code, poll_key, facts, created_at)"
            " VALUES ('w1', ?, 'key', ?, 'pending', '482 107', x'00', ?, ?)",
            [name, invitation.id, facts, time.time()],
        )
        db.execute("UPDATE invitations SET redeemed_by = 'w1', redeemed_at = 1 WHERE id = ?", [invitation.id])


@pytest.mark.parametrize("options", [DESK, PHONE], ids=["desk", "phone"])
def test_day_one(
    browser: Browser, site: str, settings: Settings, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    code = ensure_claim_code(settings)
    assert code
    visit = Visit(browser, site, tmp_path, options)
    page = visit.page
    claim(visit, code)
    invite(visit, settings)
    make_and_revoke_a_key(visit)
    add_an_employee(visit)
    page.locator(".me summary").click()
    visit.arrived("menu")
    page.locator("#sign-out").click()
    expect(page.locator("#password")).to_be_visible()
    visit.arrived("signed-out")
    page.goto("/keys")
    page.locator("#name").fill("ana")
    page.locator("#password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("form[action$=keys]")).to_be_visible()
    assert visit.watch.troubles == []
    assert len(list(tmp_path.glob("*.png"))) >= 12


def claim(visit: Visit, code: str) -> None:
    page = visit.page
    page.goto("/")
    page.wait_for_url("**/claim")
    visit.arrived("claim")
    page.locator("#code").fill(code.lower())
    page.locator("#name").fill("ana")
    page.locator("#password").fill("ana-azerty")
    broken = page.locator(".rules li[data-state=broken]")
    expect(broken).to_have_count(3)
    visit.arrived("claim-rules")
    page.locator("#password").fill(PASSWORD)
    expect(broken).to_have_count(0)
    page.keyboard.press("Enter")
    page.wait_for_url("**/overview")
    expect(page.locator("h2").first).to_have_text(
        "Trois étapes pour démarrer"
        if page.locator("html").get_attribute("lang") == "fr"
        else "Three steps to get going"
    )
    visit.arrived("overview-new")


def invite(visit: Visit, settings: Settings) -> None:
    page = visit.page
    page.goto("/workers")
    visit.arrived("workers-empty")
    page.locator("#label").fill("Reception")
    page.locator("form[action$=invitations] button").click()
    shown = page.locator("#invitation-code")
    expect(shown).to_be_visible()
    page.locator(".copyable:has(#invitation-code) button").click()
    assert visit.clipboard() == shown.inner_text()
    page.locator(".copyable:has(#join-line) button").click()
    assert visit.clipboard() == "sudo ./build.sh worker join"
    assert page.locator("#made + .badge time").inner_text()[:3] in {"14:", "15:"}
    visit.arrived("workers-invited")
    # the worker redeems: it appears without a reload, with the code to compare
    seed_pending_worker(settings)
    expect(page.locator(".pending .short-code strong")).to_have_text("482 107")
    expect(shown).to_be_visible()
    visit.arrived("workers-pending")
    page.locator(".pending form[action$=approve] button").click()
    expect(page.locator(".table tr .name")).to_contain_text("pc-12")
    expect(page.locator("#toasts .toast")).to_be_visible()
    visit.arrived("workers-approved")
    page.locator("[data-opens=revoke-w1]").click()
    expect(page.locator("dialog[open]")).to_be_visible()
    visit.arrived("workers-dialog")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def make_and_revoke_a_key(visit: Visit) -> None:
    page = visit.page
    page.goto("/keys")
    visit.arrived("keys-empty")
    page.locator("#name").fill("Ticket system")
    page.locator("form[action$=keys] button").click()
    secret = page.locator("#api-key").inner_text()
    page.locator(".copyable:has(#api-key) button").click()
    assert visit.clipboard() == secret
    page.locator(".copyable:has(#python-example) button").click()
    assert f'base_url="{visit.watch.base_url}/v1"' in visit.clipboard()
    visit.arrived("keys-made")
    # loading the page again asks for the list, it does not make another key
    page.reload()
    expect(page.locator("#api-key")).to_have_count(0)
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("[data-opens^=revoke-]").click()
    page.locator("dialog[open] .button--final").click()
    expect(page.locator("tbody tr.faded")).to_have_count(1)
    visit.arrived("keys-revoked")


def add_an_employee(visit: Visit) -> None:
    page = visit.page
    page.goto("/people")
    page.locator("#name").fill("bob")
    page.locator("form[action$=people] button").click()
    expect(page.locator("#initial-password")).to_be_visible()
    visit.arrived("people-added")


def test_the_overview_follows_and_says_when_it_cannot(
    browser: Browser, site: str, settings: Settings, tmp_path: Path
) -> None:
    visit = signed_in(browser, site, settings, tmp_path, NARROW)
    page = visit.page
    page.goto("/overview")
    value = page.locator("[data-cell='requests.value']")
    expect(value).to_have_text("0")
    with open_activity(settings.state_dir) as activity:
        for _ in range(3):
            add_line(activity, time.time())
    expect(value).to_have_text("3")
    expect(page.locator("[data-chart=requests] rect:not(.none)")).to_have_count(1)
    visit.arrived("overview")
    visit.context.set_offline(True)
    status = page.locator("[data-live-status]")
    expect(status).to_have_class("badge badge--dot badge--bad")
    visit.context.set_offline(False)
    expect(status).to_have_class("badge badge--dot badge--ok")
    with open_cellule(settings.state_dir) as db:
        people.disable_account(db, people.list_accounts(db)[0].id)
    expect(status).to_contain_text("session a pris fin")


def signed_in(
    browser: Browser, site: str, settings: Settings, folder: Path, options: Mapping[str, Any]
) -> Visit:
    """A window with a session of the admin ana; another admin exists too."""
    visit = Visit(browser, site, folder, options)
    with open_cellule(settings.state_dir) as db:
        ana = people.create_account(db, "ana", PASSWORD, Role.ADMIN, "fr")
        people.create_account(db, "second", PASSWORD, Role.ADMIN, "fr")
        token = people.start_session(db, ana.id).token
    visit.context.add_cookies([{"name": people.SESSION_COOKIE, "value": token, "url": site}])
    return visit


@pytest.mark.parametrize("options", [DESK, PHONE], ids=["desk", "phone"])
def test_the_longest_names_fit(
    browser: Browser, site: str, settings: Settings, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    visit = signed_in(browser, site, settings, tmp_path, options)
    with open_cellule(settings.state_dir) as db:
        owner = people.create_account(db, "w" * 64, PASSWORD, Role.ADMIN, "fr")
        people.create_api_key(db, "w" * 100, account_id=owner.id)
        enrolment.create_invitation(db, settings, "w" * 80, created_by=owner.id)
        seed_pending_worker(settings, "w" * 80)
        enrolment.create_invitation(db, settings, "w" * 80, created_by=owner.id)
        token = people.start_session(db, owner.id).token
        visit.context.add_cookies([{"name": people.SESSION_COOKIE, "value": token, "url": site}])
        for page in ("overview", "workers", "keys", "people", "account"):
            visit.page.goto(f"/{page}")
            visit.arrived(page)
        enrolment.approve_worker(db, "w1", approved_by=owner.id)
    for page in ("overview", "workers"):
        visit.page.goto(f"/{page}")
        visit.arrived(f"{page}-approved")
    visit.page.locator("[data-opens=revoke-w1]").click()
    visit.arrived("dialog")


def test_the_keyboard_reaches_everything_visibly(
    browser: Browser, site: str, settings: Settings, tmp_path: Path
) -> None:
    visit = signed_in(browser, site, settings, tmp_path, DESK)
    page = visit.page
    page.goto("/people")
    wanted = page.evaluate("""[...document.querySelectorAll("a[href], button, input, select, summary")]
        .filter((each) => each.checkVisibility() && each.type !== "hidden" && !each.disabled).length""")
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", page.evaluate("document.activeElement.outerHTML")
    assert len(reached) == wanted
    page.goto("/people")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.locator("[data-opens^=disable-]").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('dialog') !== null"), "focus moves into the dialog"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.opens").startswith("disable-"), "and back"


def test_the_page_marks_the_same_rules_as_the_server(browser: Browser, site: str, settings: Settings) -> None:
    page = browser.new_page(base_url=site)
    page.goto("/claim")
    address = page.locator("script[src*='password.js']").get_attribute("src")
    policy = {"shortest": SHORTEST_PASSWORD, "longest": LONGEST_PASSWORD, "common": COMMON}
    passwords = [
        *COMMON,
        *(f"{word}-2026!" for word in COMMON),
        *(f"My {word} is long enough" for word in COMMON),
        "",
        "aaaaaaaaaaaa",
        "ana is my name, yes",
        "ANA was here before",
        "correct horse battery",
        "élan vital à midi",
        "日本語のパスワードです!!",
        "😀😁😂🤣😃😄😅😆😉😊😋😎",
        "x1y2z3" * 50,
        "١٢٣٤٥٦٧٨٩ cellule",
    ]
    marked = page.evaluate(
        """async ([address, passwords, policy]) => {
            const { brokenRules } = await import(address);
            return passwords.map((password) => brokenRules(password, "ana", policy));
        }""",
        [address, passwords, policy],
    )
    assert marked == [[rule.value for rule in broken_rules(password, "ana")] for password in passwords]
    page.close()


def test_pages_work_without_scripts(browser: Browser, site: str, settings: Settings, tmp_path: Path) -> None:
    code = ensure_claim_code(settings)
    assert code
    page = browser.new_context(base_url=site, java_script_enabled=False, locale="en").new_page()
    page.goto("/")
    page.locator("#code").fill(code)
    page.locator("#name").fill("ana")
    page.locator("#password").fill(PASSWORD)
    page.locator("form .button--wide").click()
    expect(page.locator("h1")).to_have_text("Overview")
    page.goto("/keys")
    page.locator("#name").fill("script")
    page.locator("form[action$=keys] button").click()
    expect(page.locator("#api-key")).to_contain_text("sk-cellule-")
    expect(page.locator("tbody tr time").first).to_contain_text("UTC")


def test_over_https_cookies_are_secure_and_programs_learn_to_trust_the_box(
    browser: Browser, box: Settings, tmp_path: Path
) -> None:
    for name in ("run", "secrets"):
        (tmp_path / name).mkdir(mode=0o700)
    own = {"state_dir": tmp_path, "port": free_port(), "metrics_port": free_port(), "tls": True}
    settings = box.model_copy(update=own)
    with served(settings) as base_url, open_cellule(tmp_path) as db:
        people.create_account(db, "ana", PASSWORD, Role.ADMIN, "en")
        visit = Visit(browser, base_url, tmp_path, {**DESK, "ignore_https_errors": True})
        page = visit.page
        page.goto("/keys")
        page.locator("#name").fill("ana")
        page.locator("#password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("form[action$=keys]")).to_be_visible()
        cookies = visit.context.cookies()
        assert {cookie["name"]: (cookie["secure"], cookie["httpOnly"]) for cookie in cookies} == {
            people.SESSION_COOKIE: (True, True),
            "cellule_form": (True, True),
        }
        page.locator("#name").fill("Ticket system")
        page.locator("form[action$=keys] button").click()
        expect(page.locator("#made ~ .copyable pre").first).to_contain_text(f"{base_url}/certificate.pem")
        visit.arrived("keys-https")
        visit.context.close()
