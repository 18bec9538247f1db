"""The question that every boot asks an engine, and when its answer counts. Pure.

Greedy decoding of the demo model gives the same words on every processor, but not always the same bytes: a
build for another generation rounds otherwise. So what counts is that the answer holds the words that make it
right. A model that an admin brought has no known answer: it must make words at all.
"""

import json
import re
from dataclasses import dataclass

QUESTION = "What is a worker?"
EXPECTED_WORDS = frozenset(
    {"office", "computer", "lends", "power", "appliance", "box", "encrypted", "tunnel"}
)
MOST_WORDS_MISSING = 1
LONGEST_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class Judgement:
    accepted: bool
    sentence: str


def request_body(model: str) -> bytes:
    """The chat request, greedy and short."""
    return json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": QUESTION}],
            "temperature": 0,
            "max_tokens": LONGEST_ANSWER_TOKENS,
        }
    ).encode()


def judge_answer(text: str, *, is_demo: bool) -> Judgement:
    """Whether `text` answers QUESTION; of the demo model the expected answer is known."""
    words = set(re.findall(r"[^\W\d_]+", text.lower()))
    if not words:
        return Judgement(False, "The engine answered the fixed question without a word.")
    if is_demo and len(missing := EXPECTED_WORDS - words) > MOST_WORDS_MISSING:
        return Judgement(
            False,
            f"The engine answered the fixed question wrongly: {text.strip()[:160]!r} "
            f"(missing: {', '.join(sorted(missing))}).",
        )
    return Judgement(True, f"The engine answered the fixed question in {len(text.split())} words.")
