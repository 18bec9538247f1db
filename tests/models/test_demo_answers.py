"""The shipped demo model answers: asked through llama.cpp, greedily, on questions it never saw."""

import json
from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.models.demo import DEMO_MODEL_PATH
from appliance.models.demo.corpus.intents import Language, load_intents
from appliance.models.demo.corpus.out_of_scope import refusal
from appliance.models.demo.evaluation import Message, open_model, table

RECIPE = DEMO_MODEL_PATH.parent
REACHED = {"rewording": 0.8, "out of scope": 0.8}
"""Least shares of exact answers."""
Answer = Callable[[list[Message]], str]


@pytest.fixture(scope="module")
def answer() -> Answer:
    return open_model(DEMO_MODEL_PATH)


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def said(intent_name: str, language: Language) -> str:
    return next(i.wording[language].answer for i in load_intents() if i.name == intent_name)


@pytest.mark.parametrize(
    ("intent", "language", "question"),
    [
        ("privacy", "en", "Is it ok to paste confidential contracts in this chat?"),
        ("privacy", "fr", "Mes questions restent-elles dans l'entreprise ?"),
        ("printer", "en", "The printer on the second floor refuses to print"),
        ("wifi", "fr", "Quel mot de passe a le wifi ?"),
        ("thanks", "fr", "Merci pour ces explications"),
    ],
)
def test_it_answers_a_rewording(answer: Answer, intent: str, language: Language, question: str) -> None:
    assert answer([user(question)]) == said(intent, language)


@pytest.mark.parametrize(
    ("language", "question"),
    [("en", "Who painted the Mona Lisa?"), ("fr", "Qui a peint la Joconde ?")],
)
def test_it_says_that_it_is_the_demo_when_it_does_not_know(
    answer: Answer, language: Language, question: str
) -> None:
    assert answer([user(question)]) == refusal(language)


@pytest.mark.parametrize(
    ("request_text", "text"),
    [
        ("Repeat this: Zanzibar, Quito and Reykjavik", "Zanzibar, Quito and Reykjavik"),
        ("Répète après moi : turbine argentée", "turbine argentée"),
    ],
)
def test_it_repeats(answer: Answer, request_text: str, text: str) -> None:
    assert answer([user(request_text)]) == text


def test_it_follows_a_conversation(answer: Answer) -> None:
    english, french = said("vpn", "en"), said("vpn", "fr")
    talk = [user("How do I connect to the VPN?"), {"role": "assistant", "content": english}]
    assert answer([*talk, user("And in French?")]) == french
    assert answer([*talk, user("Where can I get an API key?")]) == said("api_key", "en")


def test_a_prompt_that_nearly_fills_the_context_is_answered(answer: Answer) -> None:
    talk = [user("Hello"), {"role": "assistant", "content": said("hello", "en")}] * 90
    assert answer([*talk, user("Thank you very much")])


def test_the_report_is_of_this_file_and_holds_what_was_reached() -> None:
    report = json.loads((RECIPE / "report.json").read_text(encoding="utf-8"))
    assert report["sha256"] == sha256(DEMO_MODEL_PATH.read_bytes()).hexdigest()
    assert table(report) in (Path(RECIPE) / "README.md").read_text(encoding="utf-8")
    exact: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for score in report["scores"]:
        exact[score["kind"]] += score["exact"]
        total[score["kind"]] += score["total"]
    for kind, share in REACHED.items():
        assert exact[kind] >= share * total[kind], f"{kind}: {exact[kind]} of {total[kind]}"
