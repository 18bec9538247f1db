"""A French admin reads no English on the pages of machine and models, whatever has happened to them."""

import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from babel.messages.pofile import read_po

from appliance.boot.word import Kind
from appliance.clock import now
from appliance.host.broker import Broker
from appliance.host.simulated import SimulatedHost
from appliance.keeping import backup_key, confirm_backup_key
from appliance.people import Role
from appliance.support.bundle import BundleState
from tests.web import planted_fleet as fleet
from tests.web import planted_life as life
from tests.web.conftest import TRANSLATIONS, Site, Visitor

SHORTEST_WORDS = 3
"""A fragment of fewer words could be French as well ("Support", "Code: 3")."""
_PLACEHOLDER = re.compile(r"%\(\w+\)s|%%")


class Reading(HTMLParser):
    """What a person reads of a page: no logs, no scripts, nothing that is marked as English."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unread: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in {"input", "meta", "link", "br", "hr", "img"}:
            pass
        elif self._unread or tag in {"pre", "script", "svg"} or given.get("lang") == "en":
            self._unread.append(tag)
        if not self._unread:
            self.parts += [
                given[name] or "" for name in ("aria-label", "placeholder", "title") if name in given
            ]

    def handle_endtag(self, tag: str) -> None:
        if self._unread and self._unread[-1] == tag:
            self._unread.pop()

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(data)


def read(page: str) -> str:
    reading = Reading()
    reading.feed(page)
    return " ".join(" ".join(reading.parts).split())


@pytest.fixture(scope="module")
def english() -> list[str]:
    """Every English text that the pages and the box know, cut at its facts."""
    with (TRANSLATIONS / "fr" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        ids = [message.id for message in read_po(file) if message.id and message.id != message.string]
    texts = [text for each in ids for text in (each if isinstance(each, tuple) else (each,))]
    fragments = {part.strip() for text in texts for part in _PLACEHOLDER.split(str(text))}
    return sorted(part for part in fragments if len(part.split()) >= SHORTEST_WORDS)


@pytest.fixture
def zoe(site: Site) -> Iterator[Visitor]:
    """A French admin of a box whose machine is simulated."""
    settings = site.settings
    host = SimulatedHost(settings.wireguard_key_path, settings.host_dir)
    with Broker(settings.broker_socket, host, settings.wireguard_interface) as broker:
        thread = threading.Thread(target=broker.serve_forever, args=(0.02,))
        thread.start()
        yield site.signed_in(site.account("zoé", Role.ADMIN, language="fr"))
        broker.shutdown()
        thread.join(5)


def assert_french(visitor: Visitor, path: str, english: list[str]) -> str:
    page = visitor.get(path)
    assert page.status_code == 200
    text = read(page.text)
    assert '<html lang="fr">' in page.text
    assert [fragment for fragment in english if fragment in text] == []
    return text


def test_the_reader_itself() -> None:
    page = '<p title="a title">read <b lang="en">not this</b> and <pre>nor <b>this</b></pre>that</p>'
    assert read(page) == "a title read and that"


def test_pages_of_a_quiet_box(site: Site, zoe: Visitor, english: list[str]) -> None:
    for path in ("/overview", "/machine", "/machine/software", "/updates", "/backups", "/support"):
        assert_french(zoe, path, english)


MODEL_PAGES = (
    "/models", "/models/catalogue", "/models/catalogue/qwen3-8b", "/models/bring", "/models/internet",
    "/models/handout", "/hardware", "/plan", "/plan/sizing",
)  # fmt: skip


def test_models_of_a_new_box(site: Site, zoe: Visitor, english: list[str]) -> None:
    for path in MODEL_PAGES:
        assert_french(zoe, path, english)


def test_models_in_every_state_on_a_fleet(site: Site, zoe: Visitor, english: list[str]) -> None:
    fleet.live(site.settings, site.db, site.activity)
    read = {path: assert_french(zoe, path, english) for path in MODEL_PAGES}
    assert "wide 4 copies sont souhaitées" in read["/plan"] and "processeur avec avx2" in read["/hardware"]
    assert "Hors du plan, faute de nouvelles : Mac Studio" in read["/plan"].replace("\N{NO-BREAK SPACE}", " ")


def test_the_story_and_a_bad_start(site: Site, zoe: Visitor, english: list[str]) -> None:
    life.rolled_back(site.db)
    text = assert_french(zoe, "/starts/1.2.0", english)
    assert "fichier ou dossier introuvable" in text
    for kind in (Kind.BAD_DATA, Kind.BAD_RELEASE):
        life.bad_start(site.settings, kind)
        assert "la base de données est abîmée" in assert_french(zoe, "/overview", english)


def test_updates_with_every_trouble(site: Site, zoe: Visitor, english: list[str]) -> None:
    at = now()
    life.rolled_back(site.db)
    life.past_installs(site.db, at)
    life.channel_away(
        site.db, site.activity, at, "channel_silent", "The channel does not answer (timed out)."
    )
    life.refused_stick(site.activity, at)
    text = assert_french(zoe, "/updates", english)
    assert "Le disque du boîtier n’a pas de partition root-b." in text
    life.installing(site.db, site.activity, at)
    assert "Copie vers rootfs.1" in assert_french(zoe, "/updates", english)


def test_backups_that_failed_each_in_its_way(site: Site, zoe: Visitor, english: list[str]) -> None:
    key = backup_key(site.settings)
    assert key
    assert_french(zoe, "/backups", english)
    confirm_backup_key(site.settings, key.text)
    life.nightly_target(site.db)
    life.failed_backups(site.activity, now())
    text = assert_french(zoe, "/backups", english)
    assert "Le programme de sauvegarde a échoué" in text


def test_a_change_that_was_undone(site: Site, zoe: Visitor, english: list[str]) -> None:
    life.undone_change(site.db, now())
    assert "que les tunnels utilisent" in assert_french(zoe, "/machine/change", english)


@pytest.mark.parametrize("state", [BundleState.FAILED, BundleState.COLLECTING])
def test_a_support_bundle_under_way_and_broken(
    site: Site, zoe: Visitor, english: list[str], state: BundleState
) -> None:
    life.broken_bundle(site.settings, now(), state)
    assert "les journaux" in assert_french(zoe, "/support", english)


def test_refusals_of_the_machine(site: Site, zoe: Visitor, english: list[str]) -> None:
    sent = {"method": "static", "address": "192.168.7.20", "gateway": "192.168.7.1"}
    for path, form in (
        ("/machine/network", sent),
        ("/machine/name", {"hostname": "-", "timezone": "Europe/Paris"}),
        ("/machine/certificate", {"certificate": "x", "key": "x"}),
        ("/updates/restart", {}),
        ("/support/session", {"hours": "1", "reason": "x" * 9, "request": "x"}),
        ("/support/bundle", {}),
        ("/backups/key", {"backup_key": "x"}),
        ("/backups/file", {}),
        ("/backups/restore/confirm", {"confirmation": "RESTORE"}),
    ):
        answer = zoe.post(path, form)
        assert answer.status_code >= 400, path
        assert [fragment for fragment in english if fragment in read(answer.text)] == [], path
