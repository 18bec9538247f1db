"""Conversations to learn from: questions, copies, refusals and follow-ups, mixed over one to five turns."""

import random
import tomllib
from dataclasses import dataclass, field
from functools import cache

from appliance.models.demo.corpus.copying import copy_example, with_stray_word
from appliance.models.demo.corpus.intents import (
    FOLDER,
    LANGUAGES,
    Language,
    first_sentence,
    load_intents,
    patterns,
    shared_lists,
)
from appliance.models.demo.corpus.noise import typed
from appliance.models.demo.corpus.out_of_scope import out_of_scope_question, refusal
from appliance.models.demo.corpus.patterns import Pattern


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str
    language: Language
    translation: str | None
    """The same answer in the other language, where there is one."""


@dataclass
class Conversation:
    system: str | None
    turns: list[Turn] = field(default_factory=list)


def new_conversation(rng: random.Random, *, one_turn: bool = False) -> Conversation:
    """One conversation; nine of ten turns keep to the language before, one conversation of 200 is long."""
    conversation = Conversation(_system_prompt(rng))
    language = rng.choice(LANGUAGES)
    for _ in range(1 if one_turn else _turn_count(rng)):
        if conversation.turns and rng.random() < 0.1:
            language = _other(language)
        follow_ups = 45 if conversation.turns else 0
        (make,) = rng.choices((_question, _out_of_scope, _copy, _follow_up), (58, 17, 18, follow_ups))
        turn = make(conversation, language, rng)
        conversation.turns.append(turn)
        language = turn.language
    return conversation


def _turn_count(rng: random.Random) -> int:
    if rng.random() < 1 / 200:
        return rng.randint(12, 50)
    return rng.choices((1, 2, 3, 4, 5), (70, 20, 6, 3, 1))[0]


def _question(_: Conversation, language: Language, rng: random.Random) -> Turn:
    intent = rng.choice(load_intents())
    wording = intent.wording[language]
    if rng.random() < 0.14:
        text = carried(wording.ask[-1], language, rng)
    else:
        # A rich pattern comes more often than a single sentence, but not by far.
        text = rng.choices(wording.ask, [p.count() ** 0.3 for p in wording.ask])[0].sample(rng)
    if rng.random() < 0.12:
        text = with_stray_word(text, language, rng)
    question = typed(text, language, rng)
    return Turn(question, wording.answer, language, intent.wording[_other(language)].answer)


def carried(subject: Pattern, language: Language, rng: random.Random) -> str:
    """The subject (the last pattern of an intent lists its keywords) in a sentence that fits any subject."""
    return Pattern("@carrier", shared_lists(language)).sample(rng).replace("^", subject.sample(rng))


def _out_of_scope(_: Conversation, language: Language, rng: random.Random) -> Turn:
    question = out_of_scope_question(language, rng)
    return Turn(typed(question, language, rng), refusal(language), language, refusal(_other(language)))


def _copy(_: Conversation, language: Language, rng: random.Random) -> Turn:
    question, text = copy_example(language, rng)
    return Turn(question, text, language, None)


def _follow_up(conversation: Conversation, language: Language, rng: random.Random) -> Turn:
    """A question that only makes sense after the last turn: again, shorter, in the other language."""
    last = conversation.turns[-1]
    kinds: list[str] = ["again", "shorter"]
    if last.translation:
        kinds += ["translate", "translate"]
    kind = rng.choice(kinds)
    if kind == "translate":
        target = _other(last.language)
        asked_in = target if rng.random() < 0.6 else last.language
        return Turn(_ask(f"to_{target}", asked_in, rng), last.translation or "", target, last.answer)
    answer = last.answer if kind == "again" else first_sentence(last.answer)
    translation = last.translation and (
        last.translation if kind == "again" else first_sentence(last.translation)
    )
    return Turn(_ask(kind, last.language, rng), answer, last.language, translation)


def _ask(kind: str, language: Language, rng: random.Random) -> str:
    return typed(rng.choice(follow_up_patterns()[kind, language]).sample(rng), language, rng)


@cache
def follow_up_patterns() -> dict[tuple[str, Language], tuple[Pattern, ...]]:
    """(kind, language of the question) → patterns; kinds are again, shorter, to_en, to_fr."""
    kinds = tomllib.loads((FOLDER / "follow_ups.toml").read_text(encoding="utf-8"))
    return {
        (kind, language): patterns(kinds[kind][language], language)
        for kind in kinds
        for language in LANGUAGES
    }


def _system_prompt(rng: random.Random) -> str | None:
    if rng.random() < 0.6:
        return None
    language = rng.choice(LANGUAGES)
    return Pattern("@system_prompt", shared_lists(language)).sample(rng)


def _other(language: Language) -> Language:
    return "fr" if language == "en" else "en"
