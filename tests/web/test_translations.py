"""Every text of the pages exists in French, also the refusals; and the language follows the visitor."""

import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.checkers import checkers
from babel.messages.pofile import read_po
from flask_babel import force_locale

import webadmin
from appliance import accounting, claim, enrolment, people
from appliance.errors import Refusal
from appliance.people import PasswordRefused, PasswordRule, Role, TooManyAttempts
from tests.web.conftest import PASSWORD, TRANSLATIONS, Site, Visitor
from webadmin.chat.wording import suggestions
from webadmin.refusals import explain

FOLDER = Path(webadmin.__file__).parent
# only the enrolment service meets these, never a page
NOT_IN_PAGES = {"invitation_refused"}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What the code and the templates say now."""
    template = tmp_path_factory.mktemp("texts") / "messages.pot"
    extract = [
        "extract",
        "-F",
        str(FOLDER / "babel.cfg"),
        "-k",
        "lazy_gettext",
        "-o",
        str(template),
        str(FOLDER),
    ]
    subprocess.run([sys.executable, "-m", "babel.messages.frontend", "-q", *extract], check=True)
    with template.open("rb") as file:
        return read_po(file)


@pytest.fixture(scope="module")
def french() -> Catalog:
    with (TRANSLATIONS / "fr" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale="fr", abort_invalid=True)


def texts(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (str(message.string),)


def test_nothing_is_missing_fuzzy_or_left_over(extracted: Catalog, french: Catalog) -> None:
    said = {message.id for message in extracted if message.id}
    translated = {
        message.id for message in french if message.id and all(texts(message)) and not message.fuzzy
    }
    assert len(said) > 150
    assert said - translated == set()
    assert {message.id for message in french if message.id} - said == set(), (
        "texts that no page says any more"
    )


def test_placeholders_are_the_same_in_both_languages(french: Catalog) -> None:
    for message in french:
        for check in checkers:
            check(french, message)


def test_french_is_typed_as_french_people_do(site: Site, french: Catalog) -> None:
    # these go to the model as they are, which was taught as people type
    with site.app.test_request_context():
        questions = {
            str(part)
            for admin in (True, False)
            for each in suggestions(admin)
            for part in vars(each).values()
        }
    for message in french:
        for text in texts(message) if message.id and message.id not in questions else ():
            assert not any(f" {mark}" in text for mark in ":;?!»"), text
            assert "'" not in text, text


def refusals() -> list[type[Refusal]]:
    """Every refusal that the packages behind the pages can raise."""
    packages = tuple(package.__name__ for package in (people, claim, enrolment, accounting))
    found, queue = [], [Refusal]
    while queue:
        queue += (subclasses := queue.pop().__subclasses__())
        found += [refusal for refusal in subclasses if refusal.__module__.startswith(packages)]
    return [refusal for refusal in found if refusal.http_status < 500 and refusal.code not in NOT_IN_PAGES]


def test_every_refusal_is_explained_in_french(site: Site) -> None:
    assert len(refusals()) > 15
    # the rest of enrolment speaks to workers, in English
    pages_side = {"appliance.enrolment.invitations", "appliance.enrolment.workers"}
    with site.app.test_request_context(), force_locale("fr"):
        for kind in refusals():
            if kind.__module__.startswith("appliance.enrolment") and kind.__module__ not in pages_side:
                continue
            if kind is PasswordRefused:
                error: Refusal = PasswordRefused((PasswordRule.TOO_SHORT,))
            elif kind is TooManyAttempts:
                error = TooManyAttempts("planted sentence", retry_after_seconds=3.2)
            else:
                error = kind("planted sentence")
            assert "planted" not in explain(error), f"{kind.__name__} has no text"
            assert explain(error) != str(error)
        assert explain(TooManyAttempts("", retry_after_seconds=3.2)).endswith("4 secondes.")


def test_the_browser_decides_until_somebody_chooses(site: Site, admin: Visitor) -> None:
    stranger = site.visitor()
    assert (
        "Se connecter"
        in stranger.get("/sign-in", headers={"Accept-Language": "fr-CA,fr;q=0.9,en;q=0.5"}).text
    )
    assert "Sign in" in stranger.get("/sign-in", headers={"Accept-Language": "de, ja;q=0.5"}).text
    assert 'lang="fr"' in stranger.get("/sign-in", headers={"Accept-Language": "fr"}).text
    answer = stranger.post("/language", {"language": "fr", "next": "/sign-in?next=/keys"})
    assert answer.location == "/sign-in?next=/keys"
    assert "Se connecter" in stranger.get("/sign-in").text
    stranger.post("/language", {"language": "xx"})
    assert "Se connecter" in stranger.get("/sign-in").text


def test_an_account_keeps_its_language(site: Site, admin: Visitor) -> None:
    admin.post("/language", {"language": "fr"})
    account = people.find_account(site.db, "ana")
    assert account
    assert account.language == "fr"
    elsewhere = site.visitor()
    elsewhere.post("/sign-in", {"name": "ana", "password": PASSWORD})
    assert "Aperçu" in elsewhere.get("/overview").text


def test_every_page_says_itself_in_french(site: Site) -> None:
    visitor = site.signed_in(site.account("ana", Role.ADMIN, language="fr"))
    for page, word in {
        "/overview": "Ce boîtier",
        "/workers": "Inviter un PC",
        "/keys": "Clés d’API",
        "/people": "Ajouter une personne",
        "/account": "Mot de passe actuel",
        "/nope": "Cette page n’existe pas",
    }.items():
        text = visitor.get(page).text
        assert word in text
        assert '<html lang="fr">' in text
