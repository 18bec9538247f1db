"""The pages as a browser meets them: gunicorn on its unix socket, the pool in front, real Chromium."""

import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from appliance.settings import Settings
from tests.waiting import wait_until

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SERVICES = (
    ("-c", "webadmin/gunicorn_conf.py", "webadmin:create_app()"),
    ("-c", "appliance/pool/gunicorn_conf.py", "appliance.pool.app:app"),
)


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Runs webadmin and the pool; yields the address for the browser."""
    environment = os.environ | settings.environment()
    processes = [
        subprocess.Popen([sys.executable, "-m", "gunicorn", *arguments], env=environment)
        for arguments in SERVICES
    ]
    # who answers is not what is asked here; the certificate has tests of its own
    unverified = ssl._create_unverified_context()
    try:
        wait_until(
            lambda: urllib.request.urlopen(f"{settings.base_url}/sign-in", context=unverified).status == 200,
            within_seconds=60,
            what="the sign-in page through the pool",
        )
        yield settings.base_url
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=20)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """Remembers what must not happen in a page: errors, broken policy, and requests to elsewhere."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.base_url = base_url
        self.troubles: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.troubles.append(str(error.error)))
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium reports an error page's status here too; those pages are checked by their status
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.troubles.append(message.text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base_url + "/", "data:")):
            self.troubles.append(f"request to {request.url}")


def overflow_pixels(page: Page) -> int:
    """How far the page can be scrolled sideways; 0 is right."""
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))
