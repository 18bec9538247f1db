"""A short mark of the model behind a name, by which another model under the same name is noticed. Pure.

For each fixed prompt: how many tokens the server counted (that is its tokenizer and chat template) and a
hash of how the greedy answer begins (that is its weights). Counts never differ for one model; beginnings
may for some prompts, when a driver or a batch rounds otherwise, so half of them must stay.
"""

import hashlib
import re
from collections.abc import Sequence

from appliance.engines.adopted.probing import FINGERPRINT_PROMPTS, QUESTION, Whole, message_text
from appliance.engines.adopted.translating import usage_of

BEGINNING_CHARACTERS = 24
FORM = re.compile(r"\d{1,6}:[0-9a-f]{12}(,\d{1,6}:[0-9a-f]{12}){0,15}")


def fingerprint_of(answers: Sequence[Whole]) -> str:
    """ "31:ab12cd34ef56,28:…", one part for each prompt; "" where an answer is missing."""
    parts = []
    for one in answers:
        usage = usage_of(one.answer) if one.answer else None
        if one.answer is None or usage is None:
            return ""
        begin = " ".join(message_text(one.answer).split())[:BEGINNING_CHARACTERS]
        parts.append(f"{usage['prompt_tokens']}:{hashlib.sha256(begin.encode()).hexdigest()[:12]}")
    return ",".join(parts)


def characters_per_token(question: Whole, first: Whole) -> float:
    """Of plain English, from two fixed prompts: the chat template adds the same to both. 0: not known.

    Other languages have fewer, so what is refused by this is surely too long.
    """
    counts = [usage_of(one.answer) if one.answer else None for one in (question, first)]
    if counts[0] is None or counts[1] is None:
        return 0.0
    tokens: int = counts[0]["prompt_tokens"] - counts[1]["prompt_tokens"]
    return (len(QUESTION) - len(FINGERPRINT_PROMPTS[0])) / tokens if tokens > 0 else 0.0


def difference(recorded: str, seen: str) -> str:
    """Why these are two models; "" while they may be one."""
    before, now = _parts(recorded), _parts(seen)
    if len(before) != len(now):
        return "the fixed prompts were others then"
    if [count for count, _ in before] != [count for count, _ in now]:
        return "the same prompts count other numbers of tokens than when it was adopted"
    alike = sum(one == other for one, other in zip(before, now, strict=True))
    if alike * 2 < len(now):
        return f"of {len(now)} fixed prompts only {alike} are answered as when it was adopted"
    return ""


def _parts(fingerprint: str) -> list[tuple[str, str]]:
    return [(count, begin) for count, _, begin in (part.partition(":") for part in fingerprint.split(","))]
