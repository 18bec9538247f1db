"""The navigation: groups beside the page at a desk; four places and a sheet of the rest on a phone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance import people
from appliance.people import Role
from appliance.settings import Settings
from appliance.storage import open_cellule
from tests.conftest import free_port
from tests.web.conftest import Site, Visitor
from tests.web.serving import overflow_pixels, served
from webadmin.layout import NAVIGATION

PASSWORD = "correct horse battery"
AUDIT = Path(__file__).with_name("audit.js").read_text()
LEAST_TARGET_PX = 44
DESK = {"viewport": {"width": 1440, "height": 900}}
PHONES = [{"viewport": {"width": width, "height": 740}, "has_touch": True} for width in (390, 360)]
SHEET = ".nav-groups"
CUT = """nodes => nodes.filter((node) => node.checkVisibility() && node.scrollWidth > node.clientWidth)
    .map((node) => node.textContent)"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running box with an admin for each language."""
    folder = tmp_path_factory.mktemp("box")
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    with open_cellule(folder) as db:
        for language in ("en", "fr"):
            people.create_account(db, f"ana-{language}", PASSWORD, Role.ADMIN, language)
    with served(settings):
        yield settings


def opened(browser: Browser, box: Settings, language: str, path: str, options: Mapping[str, Any]) -> Page:
    """A page of a signed-in admin, in a window of its own."""
    context = browser.new_context(base_url=box.base_url, **options)
    with open_cellule(box.state_dir) as db:
        account = people.find_account(db, f"ana-{language}")
        assert account
        token = people.start_session(db, account.id).token
    context.add_cookies([{"name": people.SESSION_COOKIE, "value": token, "url": box.base_url}])
    page = context.new_page()
    page.goto(path)
    return page


# one language in the light, the other in the dark: names and colours have nothing to do with each other
@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("fr", "dark")])
@pytest.mark.parametrize("options", PHONES, ids=["390", "360"])
def test_a_phone_shows_whole_names_and_the_rest_in_a_sheet(
    browser: Browser, box: Settings, options: Mapping[str, Any], language: str, scheme: str
) -> None:
    page = opened(browser, box, language, "/overview", {**options, "color_scheme": scheme})
    bar = page.locator(".nav > ul > li > a, .nav summary")
    expect(bar).to_have_count(4)
    expect(page.locator(SHEET)).to_be_hidden()
    page.get_by_text("Plus" if language == "fr" else "More", exact=True).tap()
    expect(page.locator(f"{SHEET} a")).to_have_count(len(NAVIGATION) - 3)
    assert page.locator(".nav span").evaluate_all(CUT) == []
    for target in (*bar.all(), *page.locator(f"{SHEET} a").all()):
        place = target.bounding_box()
        assert place and min(place["width"], place["height"]) >= LEAST_TARGET_PX
    assert overflow_pixels(page) == 0
    assert page.evaluate(AUDIT) == []


@pytest.mark.parametrize("scripts", [True, False])
def test_the_sheet_closes_by_its_veil_and_by_going_somewhere(
    browser: Browser, box: Settings, scripts: bool
) -> None:
    page = opened(browser, box, "en", "/overview", {**PHONES[0], "java_script_enabled": scripts})
    more, sheet = page.locator(".nav summary"), page.locator(SHEET)
    more.tap()
    expect(sheet).to_be_visible()
    page.touchscreen.tap(200, 100)
    expect(sheet).to_be_hidden()
    more.tap()
    sheet.get_by_role("link", name="Backups").tap()
    expect(page.locator("h1")).to_have_text("Backups")
    expect(sheet).to_be_hidden()
    more.tap()
    expect(sheet.locator("[aria-current=page]")).to_have_text("Backups")


def test_by_keyboard_the_sheet_follows_its_button(browser: Browser, box: Settings) -> None:
    page = opened(browser, box, "en", "/workers", PHONES[0])
    more, sheet = page.locator(".nav summary"), page.locator(SHEET)
    more.focus()
    page.keyboard.press("Enter")
    for name in (
        "Models",
        "Hardware",
        "Plan",
        "People",
        "API keys",
        "Audit trail",
        "Machine",
        "Updates",
        "Backups",
        "Support",
    ):
        page.keyboard.press("Tab")
        expect(sheet.get_by_role("link", name=name)).to_be_focused()
    page.keyboard.press("Tab")
    expect(sheet).to_be_hidden()
    more.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(more).to_be_focused()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_desk_shows_all_in_groups(browser: Browser, box: Settings, language: str) -> None:
    page = opened(browser, box, language, "/machine", DESK)
    expect(page.locator(".nav summary")).to_be_hidden()
    expect(page.locator(".nav a:visible")).to_have_count(len(NAVIGATION))
    box_group = page.get_by_role("list", name="Le boîtier" if language == "fr" else "The box", exact=True)
    expect(box_group.get_by_role("link")).to_have_count(4)
    assert page.locator(".nav span").evaluate_all(CUT) == []


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("/machine/software", "Machine"),
        ("/reset", "Machine"),
        ("/overview", "Overview"),
        ("/models/internet", "Models"),
    ],
)
def test_every_page_marks_its_entry(admin: Visitor, path: str, entry: str) -> None:
    marked = admin.get(path).text.split('aria-current="page"')
    assert len(marked) == 2
    assert f"<span>{entry}</span>" in marked[1].split("</a>")[0]


def test_an_employee_has_the_chat_alone(site: Site, employee: Visitor) -> None:
    page = employee.get("/account").text
    assert "<span>Chat</span>" in page
    assert 'class="more"' not in page
