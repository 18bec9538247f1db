"""Support and the audit trail in real Chromium: consent, banner, cut, a bundle; at a desk and on a phone."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from appliance import people
from appliance.people import AuditEvent, Role, audit_lines, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, transaction
from appliance.support.vendor import make_request, make_vendor_keys, read_bundle
from tests.conftest import free_port
from tests.support.conftest import ENDPOINT, REASON
from tests.waiting import wait_until
from tests.web.serving import served
from tests.web.test_browser import DESK, PHONE, Visit

WIDTHS: Mapping[str, Mapping[str, Any]] = {"desk": DESK, "phone": PHONE}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running box with broker, core, pool and pages, and a vendor in `vendor` beside its state."""
    folder = tmp_path_factory.mktemp("box")
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    make_vendor_keys(folder / "vendor")
    settings = Settings(
        state_dir=folder,
        port=free_port(),
        metrics_port=free_port(),
        host_simulated=True,
        vendor_support_file=folder / "vendor" / "support.pub",
    )
    (folder / "log").mkdir()
    environment = {**os.environ, **settings.environment()}
    processes = []
    try:
        for module in ("appliance.host", "appliance.jobs"):
            with (folder / "log" / f"{module.rpartition('.')[2]}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=log)
                )
        wait_until(settings.broker_socket.is_socket, within_seconds=20, what="the broker listens")
        with served(settings):
            yield settings
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


@pytest.fixture
def settings(box: Settings) -> Settings:
    """The box with nobody and nothing in it."""
    for opened in (open_cellule, open_activity):
        with opened(box.state_dir) as db, transaction(db):
            db.execute("PRAGMA defer_foreign_keys = ON")
            for table in set(db.table_names()) - {"migrations"}:
                db.execute(f"DELETE FROM {table}")
    return box


def signed_in(  # noqa: PLR0917 a whole visit
    browser: Browser, settings: Settings, folder: Path, options: Mapping[str, Any], name: str, role: Role
) -> Visit:
    visit = Visit(browser, settings.base_url, folder, options)
    language = "fr" if options is PHONE else "en"
    with open_cellule(settings.state_dir) as db:
        account = people.create_account(db, name, "correct horse battery", role, language)
        token = people.start_session(db, account.id).token
    cookie = {"name": people.SESSION_COOKIE, "value": token, "url": settings.base_url}
    visit.context.add_cookies([cookie])  # type: ignore[list-item]
    return visit


@pytest.mark.parametrize("width", WIDTHS)
def test_an_admin_opens_sees_and_cuts_a_session(
    browser: Browser, settings: Settings, tmp_path: Path, width: str
) -> None:
    options = WIDTHS[width]
    admin = signed_in(browser, settings, tmp_path, options, "ana", Role.ADMIN)
    page = admin.page
    page.goto("/support")
    admin.arrived("support-empty")
    make_vendor_keys(tmp_path / "nobody")
    _, forged = make_request(tmp_path / "nobody", engineer="Eve", endpoint=ENDPOINT)
    page.locator("#request").fill(forged)
    page.locator("#reason").fill(REASON)
    page.locator("form[action$=session] .button").click()
    expect(page.locator("[role=alert]")).to_be_visible()
    expect(page.locator("#reason")).to_have_value(REASON)
    admin.arrived("support-refused")
    _, text = make_request(settings.state_dir / "vendor", engineer="Vera Lang", endpoint=ENDPOINT)
    page.locator("#request").fill(text)
    page.locator("input[name=hours][value='4']").check()
    page.locator("form[action$=session] .button").click()
    expect(page.locator("#answer")).to_contain_text("cellule-support-answer ")
    banner = page.locator(".support-banner")
    expect(banner).to_contain_text("Vera Lang")
    expect(banner.locator("time")).to_contain_text("3:59:")
    admin.arrived("support-open")
    with open_activity(settings.state_dir) as activity:
        record_audit(
            activity, AuditEvent.VENDOR_SUPPORT_COMMAND, actor="Vera Lang", detail="log unit=nginx lines=50"
        )
    expect(page.locator(".commands li")).to_contain_text("log unit=nginx")
    admin.arrived("support-command")

    employee = signed_in(browser, settings, tmp_path, options, "bob", Role.USER)
    employee.page.goto("/chat")
    expect(employee.page.locator(".support-banner")).to_contain_text("Vera Lang")
    expect(employee.page.locator(".support-banner button")).to_have_count(0)
    employee.arrived("chat-banner")
    employee.context.clear_cookies()
    employee.page.goto("/sign-in")
    expect(employee.page.locator(".support-banner")).to_contain_text("Vera Lang")
    employee.arrived("sign-in-banner")
    employee.context.close()

    page.goto("/overview")
    admin.arrived("overview-banner")
    banner.locator("button").click()
    expect(page.locator(".support-banner")).to_have_count(0)
    expect(page.locator("#past ~ .table-wrap tbody tr")).to_have_count(1)
    admin.arrived("support-cut")
    with open_activity(settings.state_dir) as activity:
        events = [line.event for line in reversed(audit_lines(activity))]
    assert events == [
        "admin:support:refused",
        "admin:support:opened",
        "vendor:support:command",
        "admin:support:cut",
    ]
    admin.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_bundle_is_made_read_and_taken(
    browser: Browser, settings: Settings, tmp_path: Path, width: str
) -> None:
    visit = signed_in(browser, settings, tmp_path, WIDTHS[width], "ana", Role.ADMIN)
    page = visit.page
    page.goto("/support")
    page.locator("form[action$=bundle] .button").click()
    expect(page.locator("form[action$=download] button")).to_be_visible(timeout=30_000)
    visit.arrived("bundle-ready")
    with page.expect_download() as taken:
        page.locator("form[action$=download] button").click()
    sealed = Path(taken.value.path()).read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n")
    assert read_bundle(settings.state_dir / "vendor", sealed).startswith(b"\x1f\x8b")
    page.locator("a[href$='hardware.json']").click()
    expect(page.locator(".bundle-text")).to_contain_text('"processor"')
    visit.arrived("bundle-file")
    page.goto("/support")
    page.locator("form[action$=discard] button").click()
    expect(page.locator("form[action$=bundle] .button")).to_be_visible()
    visit.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_audit_trail_is_read_filtered_and_exported(
    browser: Browser, settings: Settings, tmp_path: Path, width: str
) -> None:
    visit = signed_in(browser, settings, tmp_path, WIDTHS[width], "ana", Role.ADMIN)
    page = visit.page
    page.goto("/audit?kind=boot")
    visit.arrived("audit-none")
    with open_activity(settings.state_dir) as activity:
        for number in range(130):
            record_audit(
                activity, AuditEvent.ADMIN_KEY_MADE, actor="ana", address="10.99.0.3", subject=f"Key {number}"
            )
        record_audit(activity, AuditEvent.BOX_BOOT_ROLLED_BACK, subject="2.1", detail="x" * 200)
    page.goto("/audit")
    expect(page.locator("tbody tr")).to_have_count(100)
    visit.arrived("audit")
    page.locator("main a[href*=before]").click()
    expect(page.locator("tbody tr")).to_have_count(31)
    page.locator("#source").select_option("box")
    page.locator(".filter button").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as taken:
        page.locator("a[href*='audit.csv']").click()
    assert len(Path(taken.value.path()).read_text().splitlines()) == 2
    with open_activity(settings.state_dir) as activity:
        activity.execute("UPDATE audit SET actor = 'bob' WHERE id = 5")
    page.goto("/audit")
    expect(page.locator("[role=alert]")).to_contain_text("5")
    visit.arrived("audit-broken")
    visit.context.close()
