"""What admins see of a release that was given up, and of storage that is damaged."""

import os
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
from playwright.sync_api import expect

import webadmin
from appliance.boot import (
    Attempt,
    Ending,
    RollbackStory,
    Word,
    find_given_up,
    places,
    record_damaged,
    refuse_release,
)
from appliance.boot.damaged import end_damage
from appliance.boot.word import Kind
from appliance.people import SESSION_COOKIE, Role, create_account, start_session
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.web.conftest import (
    PASSWORD,
    Site,
    Visitor,
    admin,
    compiled_translations,
    employee,
    quick_hashes,
    site,
)
from tests.web.serving import Watch, chromium, overflow_pixels, served
from webadmin import boot_in_words

__all__ = ["admin", "compiled_translations", "employee", "quick_hashes", "site"]

LOG = "Nov 21 04:10:02 cellule cellule-pool[311]: <b>address</b> already in use"
FAILED = Attempt(
    ending=Ending.CHECK_FAILED,
    at=1_790_000_000.0,
    boot_id="abc",
    last_good_step="broker",
    check="pool",
    sentence="The pool does not answer: [Errno 2] No such file. (waited 60 s)",
    log=LOG,
)
HUNG = Attempt(ending=Ending.HUNG, last_good_step="storage", silent_seconds=31.0)
STORY = RollbackStory(
    version="2.0",
    slot="b",
    tries=3,
    attempts=(Attempt(ending=Ending.NEVER_ARRIVED), HUNG, FAILED),
    running_version="1.0",
    root_hash="0f" * 32,
)


@pytest.fixture
def refused(site: Site) -> Site:
    refuse_release(site.db, STORY)
    return site


def test_the_overview_has_a_banner_until_an_admin_puts_it_away(refused: Site, admin: Visitor) -> None:
    page = admin.get("/overview").text
    assert "Release 2.0 did not work on this box." in page and 'href="/starts/2.0"' in page
    assert admin.post("/starts/2.0/seen").location == "/overview"
    assert "did not work" not in admin.get("/overview").text
    release = find_given_up(refused.db, "2.0")
    assert release is not None and release.seen_at is not None
    assert admin.get("/starts/2.0").status_code == 200, "the page stays"


def test_a_release_that_was_good_has_another_story_and_is_history_once_repaired(
    site: Site, admin: Visitor
) -> None:
    never = (Attempt(ending=Ending.NEVER_ARRIVED),) * 5
    record_damaged(site.db, STORY.model_copy(update={"tries": 5, "attempts": never, "was_good": True}))
    overview, page = admin.get("/overview").text, admin.get("/starts/2.0").text
    assert "Release 2.0 no longer starts." in overview and 'href="/updates"' in overview
    for part in (
        "5 starts in a row ended before the data was mounted",
        "Probably its copy on the disk is damaged.",
        "The box runs release 1.0 from the other slot.",
        "Install release 2.0 again on the page Updates",
    ):
        assert part in page, part
    assert "ot tried again" not in page
    zoe = site.signed_in(site.account("zoe", Role.ADMIN, language="fr"))
    assert "La version 2.0 ne démarre plus." in zoe.get("/overview").text
    assert "le montage des données" in zoe.get("/starts/2.0").text
    end_damage(site.db, {"2.0"})
    assert "no longer starts" in admin.get("/overview").text
    end_damage(site.db, ())
    assert "no longer starts" not in admin.get("/overview").text
    assert "Repaired or replaced" in admin.get("/starts/2.0").text


def test_a_full_disk_and_a_wrong_clock_are_told_as_on_the_console(
    site: Site, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = admin.get("/overview").text
    assert "disk of the box is full" not in page and "clock of the box is wrong" not in page
    real = os.statvfs(site.settings.state_dir)
    short = os.statvfs_result((*real[:1], 4096, *real[2:4], 10_000, *real[5:]))
    monkeypatch.setattr("appliance.boot.room_and_clock.os.statvfs", lambda _: short)
    monkeypatch.setattr("webadmin.boot.now", lambda: 90_000.0)
    page = admin.get("/overview").text
    assert "The disk of the box is full: 41.0\N{NO-BREAK SPACE}MB left." in page
    assert "The clock of the box is wrong: it says Jan 2, 1970" in page


def test_without_a_refusal_there_is_no_banner_and_no_page(admin: Visitor) -> None:
    assert "did not work" not in admin.get("/overview").text
    assert admin.get("/starts/2.0").status_code == 404
    assert admin.get("/starts/2.0.txt").status_code == 404
    assert admin.post("/starts/2.0/seen").status_code == 404


def test_the_page_tells_how_far_it_came_and_shows_the_log_as_text(refused: Site, admin: Visitor) -> None:
    page = admin.get("/starts/2.0").text
    for part in (
        "What happened to release 2.0",
        "started 3 times",
        "went back to release 1.0",
        "The service that takes requests did not answer.",
        "waited 60 s",
        "no word for 31.0",
        "It left no word",
        "time unknown",
        "&lt;b&gt;address&lt;/b&gt;",
        "0f" * 32,
    ):
        assert part in page, part
    assert "<b>address" not in page


def test_the_page_is_french_for_a_french_admin(refused: Site) -> None:
    visitor = refused.signed_in(refused.account("zoe", Role.ADMIN, language="fr"))
    page = visitor.get("/starts/2.0").text
    for part in (
        "Ce qui est arrivé à la version 2.0",
        "Jusqu’où elle est allée",
        "Le service qui prend les requêtes",
    ):
        assert part in page, part
    assert "n’a pas fonctionné sur ce boîtier" in visitor.get("/overview").text


def test_the_text_is_a_file_with_everything(refused: Site, admin: Visitor) -> None:
    answer = admin.get("/starts/2.0.txt")
    assert answer.mimetype == "text/plain"
    assert 'filename="cellule-2.0.txt"' in answer.headers["Content-Disposition"]
    assert LOG in answer.text and "Try 3 of 3" in answer.text


@pytest.mark.parametrize("path", ["/starts/2.0", "/starts/2.0.txt"])
def test_it_is_for_admins_alone(refused: Site, employee: Visitor, path: str) -> None:
    assert employee.get(path).status_code == 403
    assert refused.visitor().get(path).status_code == 303
    assert employee.post("/starts/2.0/seen").status_code == 403
    release = find_given_up(refused.db, "2.0")
    assert release is not None and release.seen_at is None


@pytest.mark.parametrize(
    ("attempt", "states"),
    [
        (FAILED, ["done"] * 5 + ["failed"] + ["open"] * 4),
        (HUNG, ["done"] * 4 + ["failed"] + ["open"] * 5),
        (Attempt(ending=Ending.NEVER_ARRIVED), ["open"] * 10),
        (Attempt(ending=Ending.NOT_BLESSED, last_good_step="answer"), ["done"] * 10),
    ],
)
def test_the_way_shows_how_far_it_went(site: Site, attempt: Attempt, states: list[str]) -> None:
    with site.app.test_request_context():
        assert [stage.state for stage in boot_in_words.stages(attempt)] == states


@pytest.mark.parametrize("kind", [Kind.BAD_DATA, Kind.BAD_RELEASE])
def test_a_start_that_is_not_good_is_told_on_the_overview(site: Site, admin: Visitor, kind: Kind) -> None:
    file = places(site.settings).verdict
    file.parent.mkdir(parents=True)
    word = Word(kind=kind, version="2.0", check="storage", sentence="What is wrong.", next_step="What to do.")
    file.write_text(word.model_dump_json())
    page = admin.get("/overview").text
    assert all(part in page for part in ("What is wrong.", "What to do.", "stays up"))
    good = word.model_copy(update={"kind": Kind.GOOD})
    file.write_text(good.model_dump_json())
    assert "What is wrong" not in admin.get("/overview").text
    file.write_text(good.model_copy(update={"unwritten": "No space left on device."}).model_dump_json())
    assert "No space left on device." in admin.get("/overview").text


def test_damaged_storage_is_named_and_not_touched(site: Site, admin: Visitor) -> None:
    path = site.settings.state_dir / "cellule.db"
    with closing(site.db):
        site.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rubbish = b"\xff" * path.stat().st_size
    path.write_bytes(rubbish)
    for leftover in path.parent.glob("cellule.db-*"):
        leftover.unlink()
    # a process that starts now meets the file as it is
    stranger = Site(site.settings, webadmin.create_app(site.settings), site.db, site.activity, "")
    answer = stranger.visitor().get("/sign-in", headers={"Accept-Language": "fr"})
    assert answer.status_code == 503
    assert "Le stockage du boîtier est endommagé" in answer.text
    assert path.read_bytes() == rubbish


@pytest.mark.root
def test_a_full_disk_is_named_and_nothing_is_half_done(site: Site, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    settings = site.settings.model_copy(update={"state_dir": disk})
    try:
        (disk / "secrets").mkdir()
        with closing(open_cellule(disk)) as db, closing(open_activity(disk)) as activity:
            here = Site(settings, webadmin.create_app(settings), db, activity, "")
            ana = here.signed_in(here.account("ana", Role.ADMIN))
            refuse_release(db, STORY)
            assert ana.get("/overview").status_code == 200
            with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(b"x" * 4096) == 4096:
                    pass
            answer = ana.post("/starts/2.0/seen")
            assert answer.status_code == 507 and "The disk of the box is full" in answer.text
            (disk / "filler").unlink()
            release = find_given_up(db, "2.0")
            assert release is not None and release.seen_at is None
            assert ana.post("/starts/2.0/seen").status_code == 303
            here.app.extensions["cellule_connections"].cellule.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_page_fits_desk_and_phone_and_says_nothing_to_the_console(settings: Settings) -> None:
    with closing(open_cellule(settings.state_dir)) as db, closing(open_activity(settings.state_dir)):
        long_line = FAILED.model_copy(update={"log": "\n".join([f"{LOG} {'x' * 200}"] * 30)})
        refuse_release(db, STORY.model_copy(update={"attempts": (*STORY.attempts[:2], long_line)}))
        account = create_account(db, "zoe", PASSWORD, Role.ADMIN, "fr")
        token = start_session(db, account.id).token
    with served(settings) as url, chromium() as browser:
        for width, height in ((1440, 900), (390, 844)):
            context = browser.new_context(viewport={"width": width, "height": height})
            context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": url}])
            watch, page = Watch(context, url), context.new_page()
            page.goto(f"{url}/overview")
            page.get_by_role("link", name="Que s’est-il passé").click()
            expect(page.get_by_role("heading", level=1)).to_contain_text("version 2.0")
            assert overflow_pixels(page) == 0
            assert watch.troubles == []
            context.close()
