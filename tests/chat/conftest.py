"""A box with scripted answers, and pages of real Chromium on it; any page error or policy violation fails."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from appliance.settings import Settings
from tests.chat.scripted import ScriptedBox
from tests.conftest import free_port

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NewPage = Callable[..., Page]
_names = count(1)


# not for the session: playwright runs an event loop on this thread, in the way of other packages' own
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedBox]:
    folder: Path = tmp_path_factory.mktemp("chat")
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    box = ScriptedBox(Settings(state_dir=folder, port=free_port(), host_simulated=True))
    yield box
    box.close()


@pytest.fixture
def box(served: ScriptedBox) -> ScriptedBox:
    served.reset()
    return served


@pytest.fixture
def new_page(chromium: Browser, box: ScriptedBox) -> Iterator[NewPage]:
    """Opens /chat as a new employee: new_page(language="fr", width=390, height=844, touch=True)."""
    contexts = []
    wrong: list[str] = []

    def new(language: str = "en", width: int = 1280, height: int = 800, touch: bool = False) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, has_touch=touch, is_mobile=touch
        )
        contexts.append(context)
        token = box.sign_in(f"person-{next(_names)}", language)
        context.add_cookies([{"name": "cellule_session", "value": token, "url": box.settings.base_url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None,
        )
        page.goto(f"{box.settings.base_url}/chat")
        return page

    yield new
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()
