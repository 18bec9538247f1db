"""An admin's update in real Chromium, through the real pool and the real broker, at a desk and on a phone."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.claim import ensure_claim_code
from appliance.host.broker import Broker
from appliance.people import Role, create_account
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.updating import Stage, UpdateChoice
from appliance.updating.packing import pack
from appliance.updating.release import WaveStep
from tests.updating.box import Box
from tests.updating.serving import ChannelServer, Fault
from tests.updating.vendor import DAY, Vendor
from tests.web.serving import Watch, overflow_pixels, served
from tests.web.test_browser import DESK, PASSWORD, PHONE

NOTES = "Answers begin 30 % sooner on the NPU.\nBackups to S3 folders.\nThe console shows the fingerprint."


@pytest.fixture
def running(settings: Settings, vendor: Vendor) -> Iterator[Box]:
    """A box whose pages and broker run; the test takes the core's turns."""
    ensure_claim_code(settings)
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        create_account(db, "ana", PASSWORD, Role.ADMIN, "en")
        create_account(db, "zoé", PASSWORD, Role.ADMIN, "fr")
        box = Box(settings, db, activity, vendor.at + DAY)
        box.trust(vendor)
        box.host.install_seconds = 40
        folders = (settings.state_dir / "updates", box.stick)
        with Broker(settings.broker_socket, box.host, settings.wireguard_interface, folders) as broker:
            thread = threading.Thread(
                target=broker.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
            )
            thread.start()
            with served(settings):
                yield box
            broker.shutdown()


def signed_in(browser: Browser, box: Box, options: Mapping[str, Any], name: str) -> tuple[Page, Watch]:
    context = browser.new_context(base_url=box.settings.base_url, **options)
    watch = Watch(context, box.settings.base_url)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto("/sign-in")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.button--wide, main button.button")
    page.wait_for_url("**/overview")
    page.goto("/updates")
    return page, watch


class Album:
    """Takes a picture of each page that was arrived at, and checks that nothing sticks out."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind

    def take(self, page: Page, name: str) -> None:
        assert overflow_pixels(page) == 0
        page.screenshot(path=self.folder / f"{self.kind}-{name}.png", full_page=True)


def test_an_update_at_the_desk(
    running: Box, browser: Browser, vendor: Vendor, server: ChannelServer, tmp_path: Path
) -> None:
    page, watch = signed_in(browser, running, DESK, "ana")
    album = Album(tmp_path, "desk")
    expect(page.locator("h1")).to_have_text("Updates")
    album.take(page, "1-first-day")

    page.fill("#channel_url", server.url)
    page.get_by_label("by itself").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_have_text("Saved.")
    vendor.publish(
        "1.1.0", size_bytes=3_000_000, notes={"en": NOTES}, waves=(WaveStep(percent=1, after_hours=0),)
    )
    running.turn()
    # the page follows by itself
    expect(page.get_by_role("heading", name="1.1.0")).to_be_visible()
    album.take(page, "2-found")

    page.get_by_text("Install now…").click()
    album.take(page, "3-install-dialog")
    page.get_by_role("button", name="Install", exact=True).click()
    running.quick_turn()
    running.quick_turn(10)
    expect(page.locator("[data-cell=percent]")).to_have_text("25\u00a0%")
    album.take(page, "4-installing")
    running.quick_turn(10)
    expect(page.locator("[data-cell=percent]")).to_have_text("50\u00a0%")
    assert page.locator("progress[data-share=install]").evaluate("bar => bar.value") == 0.5

    running.until(Stage.INSTALLED)
    expect(page.get_by_text("Restart now…")).to_be_visible()
    album.take(page, "5-installed")
    page.get_by_text("Restart now…").click()
    page.get_by_role("button", name="Restart now").click()
    running.until(Stage.HELD)
    expect(page.locator("#running")).to_have_text("1.1.0")
    server.faults["/metadata/timestamp.json"] = Fault.BROKEN
    running.turn(3700)
    expect(page.get_by_text("There is no channel at this address.")).to_be_visible()
    album.take(page, "6-running-and-channel-away")
    assert watch.troubles == []


def test_a_file_is_uploaded_with_progress_on_a_phone(
    running: Box, browser: Browser, vendor: Vendor, tmp_path: Path
) -> None:
    running.choose(UpdateChoice())
    page, watch = signed_in(browser, running, PHONE, "zoé")
    album = Album(tmp_path, "phone")
    album.take(page, "1-first-day")
    vendor.publish("1.1.0", size_bytes=12_000_000, notes={"fr": "Répond plus vite."})
    file = tmp_path / "cellule-1.1.0.tar"
    pack(vendor.channel, file)
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Envoyer et vérifier").click()
    expect(page.get_by_role("heading", name="Vérification de cellule-1.1.0.tar")).to_be_visible()
    album.take(page, "2-checking")
    running.at = vendor.at + 60 * DAY
    running.check()
    expect(page.get_by_role("heading", name="1.1.0", exact=True)).to_be_visible()
    page.get_by_text("Installer maintenant…").click()
    album.take(page, "3-stale-copy")
    page.get_by_label("Je sais d’où vient").check()
    page.get_by_role("button", name="Installer", exact=True).click()
    running.quick_turn()
    running.quick_turn(10)
    expect(page.locator("[data-cell=percent]")).to_have_text("25\u00a0%")
    album.take(page, "4-installing")
    assert watch.troubles == []


def test_a_file_that_is_not_taken_says_so_where_it_was_chosen(
    running: Box, browser: Browser, tmp_path: Path
) -> None:
    page, _ = signed_in(browser, running, DESK, "ana")
    running.look_at_stick()
    running.activity.execute("UPDATE offline_checks SET state = 'checking', ended_at = NULL")
    file = tmp_path / "x.tar"
    file.write_bytes(b"x" * 1000)
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Upload and check").click()
    expect(page.locator("form[data-upload] .error")).to_have_text(
        "A stick or file is being checked. Wait until that has ended."
    )
