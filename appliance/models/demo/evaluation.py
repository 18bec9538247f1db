"""Asks the finished GGUF file the held-out questions through llama.cpp and counts the exact answers.

Greedy decoding, one question after the other; an answer counts only if every character is right. What
comes before the last question in a conversation is always the right text, never the model's own.
"""

import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from appliance.models.demo.corpus.conversations import new_conversation
from appliance.models.demo.corpus.intents import LANGUAGES, Intent, Language, first_sentence, load_intents
from appliance.models.demo.corpus.out_of_scope import refusal

HELD_OUT = Path(__file__).parent / "heldout.toml"
LONGEST_ANSWER_TOKENS = 320
Message = dict[str, str]


@dataclass(frozen=True)
class Case:
    kind: str
    language: Language
    messages: list[Message]
    expected: str


@dataclass
class Score:
    kind: str
    language: Language
    exact: int = 0
    total: int = 0


def held_out() -> dict[str, Any]:
    """The sections of heldout.toml."""
    return tomllib.loads(HELD_OUT.read_text(encoding="utf-8"))


def evaluate(model_path: Path, threads: int = 1) -> dict[str, Any]:
    """The report: sha256 of the file, scores per kind and language, and every wrong answer."""
    answer = open_model(model_path, threads)
    scores: dict[tuple[str, Language], Score] = {}
    misses: list[dict[str, str]] = []
    for case in cases():
        score = scores.setdefault((case.kind, case.language), Score(case.kind, case.language))
        score.total += 1
        given = answer(case.messages)
        if given == case.expected:
            score.exact += 1
        else:
            question = case.messages[-1]["content"]
            misses.append({"kind": case.kind, "question": question, "answer": given[:80]})
    return {
        "sha256": sha256(model_path.read_bytes()).hexdigest(),
        "scores": [asdict(score) for score in scores.values()],
        "misses": misses,
    }


def table(report: dict[str, Any]) -> str:
    """The scores as a markdown table, one line a kind and language."""
    lines = ["| held-out | language | exact | of | share |", "|---|---|---|---|---|"]
    for score in report["scores"]:
        share = f"{100 * score['exact'] / score['total']:.0f} %"
        lines.append(
            f"| {score['kind']} | {score['language']} | {score['exact']} | {score['total']} | {share} |"
        )
    return "\n".join(lines) + "\n"


def open_model(model_path: Path, threads: int = 1) -> Callable[[list[Message]], str]:
    """A function from messages to the greedy answer, by the template in the file."""
    import llama_cpp

    import appliance.engines.llama  # noqa: F401 (loads the CPU variants)

    model: Any = llama_cpp.Llama(
        str(model_path), n_ctx=4096, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def answer(messages: list[Message]) -> str:
        done = model.create_chat_completion(
            messages, temperature=0.0, repeat_penalty=1.0, max_tokens=LONGEST_ANSWER_TOKENS
        )
        return str(done["choices"][0]["message"]["content"])

    return answer


def cases() -> Iterator[Case]:
    """Every held-out case, always the same."""
    sections = held_out()
    intents = {intent.name: intent for intent in load_intents()}
    rng = random.Random(11)
    for language in LANGUAGES:
        asked = [(intents[name], q) for name, qs in sections["rewordings"][language].items() for q in qs]
        history = _long_history(language, rng)
        for index, (intent, question) in enumerate(asked):
            expected = intent.wording[language].answer
            yield Case("rewording", language, [_user(question)], expected)
            if index % 6 == 0:
                system = {"role": "system", "content": "You are a helpful assistant."}
                yield Case("with a system prompt", language, [system, _user(question)], expected)
                before, first = rng.choice(asked)
                yield Case(
                    "second question", language, [*_turn(before, language, first), _user(question)], expected
                )
            if index % 20 == 0:
                yield Case("after 2000 tokens", language, [*history, _user(question)], expected)
        for question in sections["out_of_scope"][language]:
            yield Case("out of scope", language, [_user(question)], refusal(language))
        for request in sections["copies"][language]:
            separator = " : " if " : " in request else ": " if ": " in request else "after me "
            yield Case("copy", language, [_user(request)], request.split(separator, 1)[1])
        yield from _follow_ups(sections["follow_ups"], language, asked, rng)


def _follow_ups(
    wordings: dict[str, dict[str, list[str]]],
    language: Language,
    asked: list[tuple[Intent, str]],
    rng: random.Random,
) -> Iterator[Case]:
    other: Language = "fr" if language == "en" else "en"
    for kind, questions in wordings.items():
        if kind == f"to_{language}":
            continue
        for question in questions[language]:
            for intent, first in rng.sample(asked, 4):
                said = intent.wording[language].answer
                expected = {"again": said, "shorter": first_sentence(said)}.get(
                    kind, intent.wording[other].answer
                )
                yield Case(
                    "follow-up", language, [*_turn(intent, language, first), _user(question)], expected
                )


def _long_history(language: Language, rng: random.Random) -> list[Message]:
    """Earlier turns of about 2000 tokens (8000 characters)."""
    messages: list[Message] = []
    while sum(len(message["content"]) for message in messages) < 8000:
        for turn in new_conversation(rng).turns:
            if turn.language == language:
                messages += [_user(turn.question), {"role": "assistant", "content": turn.answer}]
    return messages


def _turn(intent: Intent, language: Language, question: str) -> list[Message]:
    return [_user(question), {"role": "assistant", "content": intent.wording[language].answer}]


def _user(content: str) -> Message:
    return {"role": "user", "content": content}
