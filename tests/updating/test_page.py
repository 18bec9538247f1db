"""The page "Updates": what an admin sees and may do, with the real broker beside it."""

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.boot import Attempt, Ending, RollbackStory, record_damaged
from appliance.errors import Refusal
from appliance.host import BundleNotTrusted, HostFailed, InstallPlan, InvalidPlan
from appliance.host.broker import Broker
from appliance.people import Role, audit_lines
from appliance.storage import read_choice
from appliance.updating import Stage, UpdateChoice, list_installs, look_soon, newest_check
from appliance.updating.packing import pack
from appliance.updating.window import Weekday
from tests.updating.box import Box
from tests.updating.serving import ChannelServer
from tests.updating.vendor import DAY, Vendor
from tests.web.conftest import Site, Visitor, admin, compiled_translations, employee, quick_hashes, site

__all__ = ["admin", "compiled_translations", "employee", "quick_hashes", "site"]


@pytest.fixture
def broker(box: Box) -> Iterator[Box]:
    """The box with a broker, whom the pages ask."""
    folders = (box.settings.state_dir / "updates", box.stick)
    with Broker(box.settings.broker_socket, box.host, box.settings.wireguard_interface, folders) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield box
        serving.shutdown()


@pytest.fixture
def offered(broker: Box, vendor: Vendor, server: ChannelServer) -> Box:
    """A box that waits for an admin, with 1.1.0 in its channel."""
    vendor.publish("1.1.0", notes={"en": "Answers <b>faster</b>.", "fr": "Répond plus vite."})
    broker.choose(UpdateChoice(channel_url=server.url, automatic=False))
    broker.turn()
    return broker


INSTALL = {"version": "1.1.0", "origin": "channel", "restart": "window"}


def events(site: Site) -> list[tuple[str, str | None, str]]:
    return [(line.event, line.actor, line.subject) for line in reversed(audit_lines(site.activity))]


def test_on_the_first_day_it_says_what_to_do(broker: Box, admin: Visitor) -> None:
    page = admin.get("/updates").text
    for part in (
        "0.1.0",
        "No channel yet",
        "makes no connection to the internet",
        "No release was installed",
    ):
        assert part in page, part


def test_what_was_found_is_shown_with_notes_and_why_it_waits(offered: Box, admin: Visitor) -> None:
    page = admin.get("/updates").text
    assert "Answers &lt;b&gt;faster&lt;/b&gt;." in page
    assert "The box does not install by itself" in page
    assert "Install now…" in page


def test_an_admin_installs_and_restarts(offered: Box, site: Site, admin: Visitor) -> None:
    assert admin.post("/updates/install", INSTALL).status_code == 303
    assert "Installing 1.1.0" in admin.get("/updates").text
    second = admin.post("/updates/install", INSTALL)
    assert second.status_code == 409
    offered.until(Stage.INSTALLED)
    page = admin.get("/updates").text
    assert "installed, waits for a restart" in page and "Restart now" in page
    assert admin.post("/updates/restart").status_code == 303
    offered.until(Stage.HELD)
    page = admin.get("/updates").text
    assert "Nothing newer" in page and "kept in the other slot" in page
    assert events(site) == [
        ("admin:release:install", "ana", "1.1.0"),
        ("box:release:installed", None, "1.1.0"),
        ("admin:release:restart", "ana", "1.1.0"),
        ("box:release:running", None, "1.1.0"),
    ]
    assert admin.post("/updates/restart").status_code == 409


def test_a_damaged_release_is_offered_with_what_installing_it_again_does(
    offered: Box, site: Site, admin: Visitor
) -> None:
    never = (Attempt(ending=Ending.NEVER_ARRIVED),) * 5
    story = RollbackStory(
        version="1.1.0", slot="b", tries=5, attempts=never, running_version="0.1.0", was_good=True
    )
    record_damaged(site.db, story)
    page = admin.get("/updates").text
    assert "installing it writes it anew" in page and 'href="/starts/1.1.0"' in page
    assert 'value="1.1.0"' in page
    assert admin.post("/updates/install", INSTALL).status_code == 303


def test_two_admins_press_at_once(offered: Box, site: Site, admin: Visitor) -> None:
    """Both pages offered it; the slower one gets an answer, not a second install."""
    other = site.signed_in(site.account("zoe", Role.ADMIN))
    assert "Install now…" in admin.get("/updates").text
    assert "Install now…" in other.get("/updates").text
    assert admin.post("/updates/install", INSTALL).status_code == 303
    answer = other.post("/updates/install", INSTALL)
    assert answer.status_code == 409
    assert "installed now. Another install is under way." in answer.text
    assert [install.ordered_by for install in list_installs(site.db)] == ["ana"]


@pytest.mark.parametrize(
    "changed", [{"version": "9.9.9"}, {"origin": "stick"}, {"version": "0.1.0"}, {"version": ""}]
)
def test_only_what_was_found_and_is_newer_can_be_ordered(
    offered: Box, site: Site, admin: Visitor, changed: dict[str, str]
) -> None:
    answer = admin.post("/updates/install", INSTALL | changed)
    assert answer.status_code == 409 and "be installed now" in answer.text
    assert list_installs(site.db) == []


def test_a_hold_stops_everybody(offered: Box, site: Site, admin: Visitor) -> None:
    assert admin.post("/updates/hold", {"hold": "yes"}).status_code == 303
    page = admin.get("/updates").text
    assert "All releases are on hold" in page and "Install now…" not in page
    assert admin.post("/updates/install", INSTALL).status_code == 409
    admin.post("/updates/hold", {"hold": "no"})
    assert "Install now…" in admin.get("/updates").text
    assert [event for event, _, _ in events(site)] == ["admin:updates:changed"] * 2


def test_channel_and_window_are_chosen_and_audited(broker: Box, site: Site, admin: Visitor) -> None:
    form = {
        "channel_url": "https://updates.example.com/stable",
        "automatic": "yes",
        "days": ["4", "5"],
        "begins": "22:30",
        "ends": "04:00",
    }
    assert admin.post("/updates/choices", form).status_code == 303
    chosen = read_choice(site.db, UpdateChoice)
    assert chosen.channel_url == "https://updates.example.com/stable/"
    assert chosen.window.days == {Weekday.FRIDAY, Weekday.SATURDAY}
    page = admin.get("/updates").text
    assert 'value="22:30"' in page and page.count("checked") >= 3
    [line] = audit_lines(site.activity)
    assert "channel_url: None → https://updates.example.com/stable/" in line.detail


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channel_url": "ftp://x/"}, "be the address of a channel"),
        ({"channel_url": "https://me:secret@x/"}, "be the address of a channel"),
        ({"days": []}, "Choose at least one day"),
        ({"begins": "25:00"}, "Choose at least one day"),
        ({"ends": ""}, "Choose at least one day"),
        ({"days": ["8"]}, "Choose at least one day"),
    ],
)
def test_a_wrong_choice_is_refused_and_what_was_typed_stays(
    broker: Box, site: Site, admin: Visitor, changed: dict[str, object], said: str
) -> None:
    form = {
        "channel_url": "https://ok.example.com/",
        "days": ["1"],
        "begins": "01:00",
        "ends": "02:00",
    } | changed
    answer = admin.post("/updates/choices", form)
    assert answer.status_code == 400 and said in answer.text
    assert f'value="{form["channel_url"]}"' in answer.text
    assert read_choice(site.db, UpdateChoice) == UpdateChoice()
    assert events(site) == []


def update_file(vendor: Vendor, folder: Path) -> Path:
    vendor.publish("1.1.0", size_bytes=200_000)
    pack(vendor.channel, folder / "cellule-1.1.0.tar")
    return folder / "cellule-1.1.0.tar"


def send(visitor: Visitor, content: bytes, name: str = "cellule-1.1.0.tar", **form: object) -> int:
    return visitor.post(
        "/updates/file", {"file": (io.BytesIO(content), name), **form}, content_type="multipart/form-data"
    ).status_code


def test_a_file_is_uploaded_checked_and_installed(
    broker: Box, site: Site, admin: Visitor, vendor: Vendor, tmp_path: Path
) -> None:
    file = update_file(vendor, tmp_path)
    assert send(admin, file.read_bytes()) == 303
    page = admin.get("/updates").text
    assert "Checking cellule-1.1.0.tar" in page and "Reading signatures" in page
    broker.check()
    page = admin.get("/updates").text
    assert "uploaded file" in page and "installed when an admin says so" in page
    assert admin.post("/updates/install", INSTALL | {"origin": "upload"}).status_code == 303
    assert ("admin:release:uploaded", "ana", "cellule-1.1.0.tar") in events(site)


def test_a_copy_with_expired_signatures_needs_a_word(
    broker: Box, site: Site, admin: Visitor, vendor: Vendor, tmp_path: Path
) -> None:
    file = update_file(vendor, tmp_path)
    broker.at = vendor.at + 60 * DAY
    broker.upload(file)
    page = admin.get("/updates").text
    assert "I know where this copy comes from" in page
    order = INSTALL | {"origin": "upload"}
    answer = admin.post("/updates/install", order)
    assert answer.status_code == 400 and "Confirm that you trust" in answer.text
    assert admin.post("/updates/install", order | {"confirmed": "yes"}).status_code == 303


def test_a_refused_file_says_why_on_the_page(broker: Box, admin: Visitor) -> None:
    send(admin, b"no tar at all", "holiday.tar")
    broker.check()
    page = admin.get("/updates").text
    assert "holiday.tar was refused." in page and "This is not an update file." in page


def test_an_upload_without_a_file_or_token_or_room_is_refused(
    broker: Box, site: Site, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = admin.post("/updates/file", {"file": (io.BytesIO(b""), "")}, content_type="multipart/form-data")
    assert answer.status_code == 400 and "data-refusal" in answer.text
    assert send(admin, b"x", csrf_token="wrong") == 400
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert send(admin, b"x") == 507
    assert newest_check(site.activity) is None
    assert not list((site.settings.state_dir / "updates" / "incoming").iterdir())


def test_a_stick_is_looked_at(broker: Box, site: Site, admin: Visitor) -> None:
    assert admin.post("/updates/stick").status_code == 303
    assert "Checking the USB stick" in admin.get("/updates").text
    assert admin.post("/updates/stick").status_code == 409
    broker.check()
    page = admin.get("/updates").text
    assert "The USB stick was refused." in page and "No USB stick was found." in page


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            BundleNotTrusted("another signer"),
            "The bundle is not signed by the vendor whom this box believes.",
        ),
        (InvalidPlan("another hash"), "The bundle is not the one that was announced for this release."),
        (HostFailed("no answer in 45 s"), "The installer could not begin."),
    ],
)
def test_an_install_that_is_refused_before_it_begins_says_why(
    offered: Box, admin: Visitor, monkeypatch: pytest.MonkeyPatch, refusal: Refusal, sentence: str
) -> None:
    def refuse(_plan: InstallPlan) -> None:
        raise refusal

    monkeypatch.setattr(offered.host, "install_release", refuse)
    assert admin.post("/updates/install", INSTALL).status_code == 303
    offered.until(Stage.FAILED)
    page = admin.get("/updates").text
    assert sentence in page
    assert page.count(refusal.sentence) == 1, "the machine's own words stand beside it, once"


def test_a_channel_that_does_not_answer_is_told_with_the_time(
    broker: Box, admin: Visitor, server: ChannelServer
) -> None:
    broker.choose(UpdateChoice(channel_url=server.url))
    broker.turn()
    page = admin.get("/updates").text
    assert "There is no channel at this address." in page and "asked again" in page
    admin.post("/updates/look")
    look_soon(broker.activity)


def live(visitor: Visitor) -> dict[str, Any]:
    document = visitor.get("/updates.json").json
    assert isinstance(document, dict)
    return document


def test_the_live_part_follows_without_asking_the_machine(offered: Box, admin: Visitor) -> None:
    offered.host.install_seconds = 20
    before = live(admin)
    admin.post("/updates/install", INSTALL)
    offered.quick_turn()
    offered.quick_turn(8)
    state = live(admin)
    assert state["version"] != before["version"]
    assert state["cells"]["percent"].startswith("40")
    assert state["shares"] == {"install": 0.4}
    assert state["cells"]["left"] == "less than a minute left"
    offered.quick_turn(4)
    later = live(admin)
    assert later["version"] == state["version"] and later["shares"] == {"install": 0.6}


def test_without_the_broker_the_page_still_opens(box: Box, admin: Visitor) -> None:
    answer = admin.get("/updates")
    assert answer.status_code == 200 and "History" in answer.text


def test_it_is_for_admins_alone(offered: Box, site: Site, employee: Visitor) -> None:
    for path in ("/updates", "/updates.json"):
        assert employee.get(path).status_code == 403
    for action in ("install", "restart", "look", "stick", "hold", "choices"):
        assert employee.post(f"/updates/{action}", INSTALL).status_code == 403
    assert send(employee, b"x") == 403
    assert not list((site.settings.state_dir / "updates").glob("incoming/*"))
    assert list_installs(site.db) == [] and events(site) == []


def test_the_page_is_french_for_a_french_admin(offered: Box, site: Site, admin: Visitor) -> None:
    visitor = site.signed_in(site.account("zoe", Role.ADMIN, language="fr"))
    page = visitor.get("/updates").text
    assert visitor.post("/updates/install", INSTALL).status_code == 303
    page += visitor.get("/updates").text
    for part in (
        "Mises à jour",
        "Répond plus vite.",
        "Installation de 1.1.0",
        "Plage de maintenance",
        "lundi",
    ):
        assert part in page, part
    words = re.sub(r"<[^>]*>", " ", page)
    for english in ("release", "Running", "Found", "History", "Restart", "window"):
        assert english not in words, english
