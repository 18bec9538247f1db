"""Every text exists, is used and is French too; every vendored library is the one that was checked."""

import hashlib
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from flask import Flask
from flask_babel import force_locale

from appliance.models.demo.corpus.intents import LANGUAGES, Language, load_intents
from appliance.models.demo.corpus.out_of_scope import PLACEHOLDERS
from appliance.models.demo.corpus.patterns import normalised
from appliance.settings import Settings
from webadmin import create_app
from webadmin.chat.wording import suggestions, wording

WEBADMIN = Path(__file__).parents[2] / "webadmin"
SCRIPTS = WEBADMIN / "static" / "chat"


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


def test_scripts_and_wording_know_the_same_texts(app: Flask) -> None:
    source = "\n".join(path.read_text() for path in SCRIPTS.glob("*.js"))
    named = set(re.findall(r"""["'`]([a-z_]+)["'`]""", source))
    prefixes = (*re.findall(r"words\(`([a-z_]+_)\$\{", source), "trouble_")
    with app.test_request_context():
        known = set(wording())
    assert set(re.findall(r"""words\(["']([a-z_]+)["']""", source)) <= known
    unused = {key for key in known - named if not key.startswith(prefixes)}
    assert not unused


def test_every_kind_of_trouble_has_its_sentence_and_its_actions(app: Flask) -> None:
    remedies = (SCRIPTS / "remedies.js").read_text()
    table = remedies[remedies.index("REMEDIES =") : remedies.index("});")]
    kinds = set(re.findall(r"^\s+([a-z_]+): \[", table, re.MULTILINE))
    actions = set(re.findall(r'"([a-z_]+)"', table))
    with app.test_request_context():
        known = set(wording())
    assert kinds == {key.removeprefix("trouble_") for key in known if key.startswith("trouble_")}
    assert {f"action_{action}" for action in actions} <= known


def test_french_says_everything_and_keeps_the_placeholders(app: Flask) -> None:
    with (WEBADMIN / "translations" / "fr" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale="fr")
    with app.test_request_context():
        texts = [
            *wording().values(),
            *(
                text
                for admin in (True, False)
                for one in suggestions(admin)
                for text in (one.subject, one.question)
            ),
        ]
    texts += re.findall(
        r"""_\(["'](.+?)["']\)""", (WEBADMIN / "templates" / "chat" / "page.html").read_text()
    )
    for text in texts:
        message = catalogue.get(text)
        assert message is not None and message.string, f"no French for: {text}"
        assert not message.fuzzy, text
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", str(message.string))), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_demo_model_was_taught_the_suggested_questions(app: Flask, language: Language) -> None:
    patterns = [pattern for intent in load_intents() for pattern in intent.wording[language].ask]
    with app.test_request_context(), force_locale(language):
        questions = {one.question for admin in (True, False) for one in suggestions(admin)}
    for question in questions:
        words = normalised(question)
        assert any(re.fullmatch(pattern.regex(PLACEHOLDERS), words) for pattern in patterns), question


def test_vendored_libraries_are_the_checked_ones() -> None:
    vendor = WEBADMIN / "static" / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    sums = {name: checksum for checksum, name in (line.split() for line in lines)}
    assert set(sums) == {path.name for path in vendor.glob("*.js")}
    for name, checksum in sums.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == checksum, name
        assert name in (vendor / "README.md").read_text()
