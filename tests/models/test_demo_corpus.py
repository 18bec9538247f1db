"""The text of the demo model: complete in both languages, and blind to what the evaluation asks."""

import random
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance.models.demo.corpus.conversations import follow_up_patterns, new_conversation
from appliance.models.demo.corpus.copying import copy_example
from appliance.models.demo.corpus.intents import (
    LANGUAGES,
    Language,
    first_sentence,
    load_intents,
    shared_lists,
)
from appliance.models.demo.corpus.out_of_scope import PLACEHOLDERS, filled, out_of_scope_patterns, refusal
from appliance.models.demo.corpus.patterns import Pattern, normalised
from appliance.models.demo.evaluation import cases, held_out

by_language = pytest.mark.parametrize("language", LANGUAGES)


def all_patterns(language: Language) -> Iterator[Pattern]:
    for intent in load_intents():
        yield from intent.wording[language].ask
    yield from out_of_scope_patterns(language)
    for (_, asked_in), found in follow_up_patterns().items():
        if asked_in == language:
            yield from found


def held_out_questions(language: Language) -> list[str]:
    sections = held_out()
    listed = [*sections["rewordings"][language].values(), sections["out_of_scope"][language]]
    listed += [wordings[language] for wordings in sections["follow_ups"].values()]
    return [question for questions in listed for question in questions]


@by_language
def test_no_pattern_produces_a_held_out_question(language: Language) -> None:
    questions = {normalised(question): question for question in held_out_questions(language)}
    carriers = Pattern("@carrier", shared_lists(language))
    subjects = "|".join(intent.wording[language].ask[-1].regex({}) for intent in load_intents())
    expressions = [(pattern.source, pattern.regex(PLACEHOLDERS)) for pattern in all_patterns(language)]
    expressions.append(("a carrier", carriers.regex({"^": f"\\s*(?:{subjects})\\s*"})))
    produced = [
        f"{question!r} by {source!r}"
        for source, regex in expressions
        for expression in [re.compile(regex)]
        for text, question in questions.items()
        if expression.fullmatch(text)
    ]
    assert not produced


@by_language
def test_the_expression_of_a_pattern_matches_what_it_samples(language: Language) -> None:
    """Without this the test above could not fail."""
    rng = random.Random(1)
    for pattern in all_patterns(language):
        expression = re.compile(pattern.regex(PLACEHOLDERS))
        for sample in (filled(pattern.sample(rng), rng) for _ in range(5)):
            assert expression.fullmatch(normalised(sample)), (sample, pattern.source)


@by_language
def test_every_intent_has_many_wordings_an_answer_of_its_own_and_held_out_questions(
    language: Language,
) -> None:
    intents = load_intents()
    answers = {intent.wording[language].answer for intent in intents}
    assert len(answers) == len(intents) >= 70
    asked = held_out()["rewordings"][language]
    assert set(asked) == {intent.name for intent in intents}
    for intent in intents:
        wordings = sum(pattern.count() for pattern in intent.wording[language].ask)
        assert wordings >= 50, f"{intent.name} has only {wordings} wordings"
        assert asked[intent.name]
    assert refusal(language) not in answers


def test_the_held_out_sets_are_large() -> None:
    sections = held_out()
    assert sum(len(qs) for language in LANGUAGES for qs in sections["rewordings"][language].values()) >= 300
    assert sum(len(sections["out_of_scope"][language]) for language in LANGUAGES) >= 150
    assert len(list(cases())) > 600


@by_language
def test_a_copy_is_what_was_given(language: Language) -> None:
    rng = random.Random(2)
    for _ in range(200):
        request, text = copy_example(language, rng)
        assert text and text in request


def test_one_seed_gives_one_corpus() -> None:
    def first(seed: int) -> list[object]:
        rng = random.Random(seed)
        return [new_conversation(rng) for _ in range(50)]

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_the_corpus_needs_no_torch() -> None:
    code = (
        "import sys, appliance.models.demo.evaluation; assert not {'torch', 'tokenizers'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pattern_expands_options_alternatives_and_lists() -> None:
    pattern = Pattern("[please] (open|shut) @what", {"what": "the (door|gate)"})
    rng = random.Random(5)
    samples = {pattern.sample(rng) for _ in range(200)}
    assert samples == {
        f"{please}{verb} the {thing}"
        for please in ("", "please ")
        for verb in ("open", "shut")
        for thing in ("door", "gate")
    }
    assert pattern.count() == 8


@pytest.mark.parametrize("source", ["(a|b", "a)", "[a"])
def test_a_malformed_pattern_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=re.escape(source)):
        Pattern(source, {})


def test_the_first_sentence_is_what_shorter_means() -> None:
    assert first_sentence("Yes. It is.") == "Yes."
    assert first_sentence("Run this:\n\n```sh\nls\n```") == "Run this"
    assert first_sentence("Bonjour ! Je suis là.") == "Bonjour !"
    assert "\n" not in shared_lists("en")["refusal"]
