"""Models in real Chromium: an upload that is cut and goes on, a download followed, an alias that moves."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from appliance import people
from appliance.host import this_machine
from appliance.models import ModelsChoice, held_models, list_gets, move_alias, remove_alias
from appliance.models.following import follow_gets
from appliance.people import Role
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, write_choice
from tests.bench.random_model import TINY, Shape, random_model
from tests.conftest import free_port
from tests.models.hub_server import Content, HubServer, serving
from tests.waiting import wait_until
from tests.web.serving import Watch, overflow_pixels, served

PASSWORD = "correct horse battery"
AUDIT = Path(__file__).with_name("audit.js").read_text()
ENTRIES = Path(__file__).with_name("catalogue")
DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
TWO_PIECES = Shape("Random 6M", 4096, 256, 768, 6, 4, 2)
"""Its file is larger than one piece of an upload."""
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running box with an admin, the tests' catalogue, and the core's job for gets in a thread."""
    folder = tmp_path_factory.mktemp("box")
    for name in ("run", "secrets", "catalogue"):
        (folder / name).mkdir(mode=0o700)
    for entry in ENTRIES.glob("*.toml"):
        (folder / "catalogue" / entry.name).write_bytes(entry.read_bytes())
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    with open_cellule(folder) as db:
        people.create_account(db, "ana", PASSWORD, Role.ADMIN, "en")
    over = threading.Event()

    def core() -> None:
        host = this_machine(settings)
        while not over.wait(0.1):
            follow_gets(settings, host)

    with served(settings):
        thread = threading.Thread(target=core)
        thread.start()
        yield settings
        over.set()
        thread.join()


@pytest.fixture
def page(browser: Browser, box: Settings) -> Iterator[Page]:
    """A signed-in admin's window, in which nothing may go wrong."""
    context = browser.new_context(base_url=box.base_url, viewport=DESK, locale="en-GB")
    with open_cellule(box.state_dir) as db:
        account = people.find_account(db, "ana")
        assert account
        token = people.start_session(db, account.id).token
    context.add_cookies([{"name": people.SESSION_COOKIE, "value": token, "url": box.base_url}])
    watch = Watch(context, box.base_url)
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    yield page
    assert watch.troubles == []
    context.close()


def looks_right(page: Page) -> None:
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        assert overflow_pixels(page) == 0
        assert page.evaluate(AUDIT) == []
    page.set_viewport_size(DESK)


def held_names(box: Settings) -> set[str]:
    with open_cellule(box.state_dir) as db:
        return {model.name for model in held_models(db)}


def test_who_works_by_keyboard_stays_where_they_are_when_the_page_becomes_another(
    page: Page, box: Settings
) -> None:
    page.goto("/models")
    card = page.locator("#model-cellule-demo")
    button = card.get_by_role("button", name="Check the files")
    button.focus()
    with open_cellule(box.state_dir) as db, open_activity(box.state_dir) as activity:
        move_alias(db, activity, "elsewhere", "cellule-demo", by="ben", at=time.time())
        expect(card.get_by_text("elsewhere", exact=True)).to_be_visible()
        expect(button).to_be_focused()
        remove_alias(db, activity, "elsewhere", by="ben")


def test_a_page_with_something_unfolded_still_follows_and_takes_nothing_typed_away(
    page: Page, box: Settings
) -> None:
    page.goto("/models")
    card = page.locator("#model-cellule-demo")
    card.get_by_text("How this is computed").click()
    with open_cellule(box.state_dir) as db, open_activity(box.state_dir) as activity:
        move_alias(db, activity, "elsewhere", "cellule-demo", by="ben", at=time.time())
        expect(card.get_by_text("elsewhere", exact=True)).to_be_visible()
        expect(card.locator(".arithmetic")).to_be_visible()
        new = page.get_by_label("A name of your own")
        new.fill("gpt-4o")
        page.get_by_role("heading", name="Memory").click()
        remove_alias(db, activity, "elsewhere", by="ben")
        with page.expect_response("**/models.json") as followed:
            pass
        assert followed.value.ok
        expect(new).to_have_value("gpt-4o")
        new.fill("")
        page.get_by_role("heading", name="Memory").click()
        expect(card.get_by_text("elsewhere", exact=True)).to_be_hidden()


def test_an_upload_goes_on_after_the_page_was_closed(
    page: Page, box: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = random_model(tmp_path_factory.mktemp("gguf"), TWO_PIECES)

    def only_the_first(route: Route) -> None:
        if "offset=0" in route.request.url:
            route.continue_()
        else:
            route.abort("connectionfailed")

    page.route("**/chunk?**", only_the_first)
    page.goto("/models/bring")
    looks_right(page)
    page.get_by_label("GGUF file", exact=True).set_input_files(file)
    name = page.locator("#upload-name")
    expect(name).to_have_value("random-6m-v2-q8_0")
    name.fill("mine")
    page.get_by_role("button", name="Upload and check").click()
    expect(page.get_by_text("The connection was lost. It goes on by itself")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("[data-begin] [data-sent]")).to_contain_text("4.2 MB of")
    page.unroute("**/chunk?**")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/models/bring")
    expect(page.get_by_role("heading", name="Go on with mine")).to_be_visible()
    looks_right(page)
    page.get_by_label("The same file or folder").set_input_files(ENTRIES / "tiny-chat.toml")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("These are not the files of this upload")).to_be_visible()
    page.get_by_label("The same file or folder").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/models")
    expect(page.locator("#model-mine")).to_be_visible(timeout=SLOW_MS)
    assert "mine" in held_names(box)


def test_a_refusal_is_in_sight_where_the_click_was(page: Page, box: Settings) -> None:
    wait_until(lambda: "mine" in held_names(box), within_seconds=30, what="the model of the test before")
    page.goto("/models")
    card = page.locator("#model-mine")
    card.get_by_text("Where it may be loaded").click()
    copies = card.get_by_label("Loaded on how many machines at least")
    copies.fill("two")
    copies.press("Enter")
    expect(card.get_by_text("“two” is no number of machines.")).to_be_in_viewport()
    expect(copies).to_have_value("two")
    page.get_by_label("A name of your own").fill("cellule-demo")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Choose another name for the alias")).to_be_in_viewport()
    page.goto("/models/bring")
    page.get_by_role("button", name="Look at the NAS").click()
    expect(page.get_by_text("No NAS folder is chosen")).to_be_in_viewport()


def test_what_is_no_model_is_not_sent_and_the_name_follows_the_file(page: Page, tmp_path: Path) -> None:
    for called, data in (("Empty.gguf", b""), ("report.gguf", b"%PDF-1.7"), ("Second-4B.gguf", b"GGUF")):
        (tmp_path / called).write_bytes(data)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/uploads" in request.url else None)
    page.goto("/models/bring")
    file, name = page.get_by_label("GGUF file", exact=True), page.locator("#upload-name")
    send = page.get_by_role("button", name="Upload and check")
    file.set_input_files(tmp_path / "Empty.gguf")
    send.click()
    expect(page.get_by_text("What was chosen is empty")).to_be_visible()
    file.set_input_files(tmp_path / "report.gguf")
    expect(name).to_have_value("report")
    send.click()
    expect(page.get_by_text("report.gguf is no GGUF file. Nothing was sent.")).to_be_visible()
    expect(send).to_be_enabled()
    file.set_input_files(tmp_path / "Second-4B.gguf")
    expect(name).to_have_value("second-4b")
    name.fill("mine-alone")
    file.set_input_files(tmp_path / "report.gguf")
    expect(name).to_have_value("mine-alone")
    assert sent == []


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    data = random_model(tmp_path_factory.mktemp("hub"), TINY).read_bytes()
    content = Content({"tiny-Q8_0.gguf": data}, large={"tiny-Q8_0.gguf"})
    with serving(content) as elsewhere, serving(content, elsewhere) as server:
        yield server


def test_a_model_is_got_from_a_hub_and_may_be_cancelled(page: Page, box: Settings, hub: HubServer) -> None:
    with open_cellule(box.state_dir) as db:
        write_choice(db, ModelsChoice(internet_allowed=True, hub_url=hub.url), chosen_by="ana")
    assert hub.elsewhere
    hub.elsewhere.faults.slow_bytes = 100_000
    page.goto("/models/catalogue")
    looks_right(page)
    page.get_by_role("link", name="Tiny Chat 4M").click()
    looks_right(page)
    page.get_by_label("Name in the API").fill("from-hub")
    page.get_by_role("button", name="Get it", exact=True).click()
    page.wait_for_url("**/models")
    expect(page.get_by_text("fetching: ")).to_be_visible(timeout=SLOW_MS)
    looks_right(page)
    page.get_by_role("button", name="Cancel from-hub").click()
    expect(page.get_by_role("heading", name="On their way")).to_be_hidden(timeout=SLOW_MS)
    assert "from-hub" not in held_names(box)
    hub.elsewhere.faults.slow_bytes = None
    page.goto("/models/catalogue/tiny-chat")
    page.get_by_label("Name in the API").fill("from-hub")
    page.get_by_role("button", name="Get it", exact=True).click()
    expect(page.locator("#model-from-hub")).to_be_visible(timeout=SLOW_MS)
    with open_activity(box.state_dir) as activity:
        states = [get.state for get in list_gets(activity) if get.name == "from-hub"]
    assert states == ["done", "cancelled"]


def test_an_alias_moves_and_a_model_goes_by_keyboard(page: Page, box: Settings, hub: HubServer) -> None:
    wait_until(lambda: "from-hub" in held_names(box), within_seconds=30, what="the model of the test before")
    page.goto("/models")
    page.get_by_label("Model for large").select_option("from-hub")
    page.get_by_label("Model for large").press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Who asks for “large” gets from-hub from now on.")).to_be_visible()
    page.get_by_label("Model for default").select_option("from-hub")
    page.get_by_label("Model for default").press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Back to the demo model")).to_be_visible()
    looks_right(page)
    page.get_by_role("button", name="Back to the demo model").click()
    page.get_by_role("button", name="Remove large").click()
    page.get_by_label("Alias for from-hub").select_option("code")
    page.get_by_role("button", name="Move the alias here from-hub").click()
    expect(page.get_by_text("Who asks for “code” gets from-hub from now on.")).to_be_visible()
    card = page.locator("#model-from-hub")
    expect(card.get_by_text("To remove it, first move its aliases.")).to_be_visible()
    page.get_by_role("button", name="Remove code").click()
    expect(page.get_by_text("There is no alias “code” any more.")).to_be_visible()
    card.get_by_role("button", name="Remove…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Remove from-hub?")
    looks_right(page)
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(card).to_be_hidden()
    assert "from-hub" not in held_names(box)
