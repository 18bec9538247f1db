"""Pages of models, hardware and plan in real Chromium, of a box with nothing and of one with a whole fleet.

At a desk and on a phone: nothing sticks out, everything can be read, named and pressed. A French admin's.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from appliance import people
from appliance.people import Role
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.conftest import free_port
from tests.web import planted_fleet
from tests.web.serving import Watch, overflow_pixels, served
from tests.web.test_french_pages import MODEL_PAGES

AUDIT = Path(__file__).with_name("audit.js").read_text()
WIDTHS = (1440, 390)
CUT_WORDS = """[...document.querySelectorAll("main *")]
    .filter((it) => getComputedStyle(it).textOverflow === "ellipsis" && it.scrollWidth > it.clientWidth)
    .map((it) => it.textContent)"""
"""Machines whose names begin alike could not be told apart."""


@pytest.fixture(scope="module", params=["new", "fleet"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("box")
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    with open_cellule(folder) as db, open_activity(folder) as activity:
        people.create_account(db, "zoe", "correct horse battery", Role.ADMIN, "fr")
        if request.param == "fleet":
            planted_fleet.live(settings, db, activity)
    with served(settings):
        yield settings


@pytest.fixture
def context(browser: Browser, box: Settings) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=box.base_url, locale="fr-FR")
    with open_cellule(box.state_dir) as db:
        account = people.find_account(db, "zoe")
        assert account
        token = people.start_session(db, account.id).token
    context.add_cookies([{"name": people.SESSION_COOKIE, "value": token, "url": box.base_url}])
    watch = Watch(context, box.base_url)
    yield context
    assert watch.troubles == []
    context.close()


def looks_right(page: Page, where: str) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert overflow_pixels(page) == 0, f"{where} at {width}"
        assert page.evaluate(AUDIT) == [], f"{where} at {width}"
        assert page.evaluate(CUT_WORDS) == [], f"{where} at {width}"


def test_every_page_can_be_read_and_operated_with_everything_open(context: BrowserContext) -> None:
    page = context.new_page()
    for path in MODEL_PAGES:
        page.goto(path)
        page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")
        looks_right(page, path)


def test_sizing_by_keyboard_alone(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/plan/sizing")
    page.get_by_label("Employés").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("30")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Machine par machine")).to_be_visible(timeout=30_000)
    looks_right(page, "sized")
    page.get_by_label("Machines, une par ligne (CSV)").fill("name;cpu;memory_gb\nPC;i5;viel")
    page.get_by_role("button", name="Rejouer une journée").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("« viel » n’est pas un nombre")
    looks_right(page, "sized wrongly")
