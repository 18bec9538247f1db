"""Whether an adopted server may answer for us: the verdict, with its reasons. Pure.

Before it serves, when it comes back and every few minutes while it is idle: it must list the model, show
nothing that contradicts its name, answer the fixed questions as OpenAI's API says, stream, count its usage
and stop where it is told to. And it must still be the model that was adopted (`fingerprint`).
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.engines.adopted.claims import contradictions
from appliance.engines.adopted.fingerprint import difference, fingerprint_of
from appliance.engines.adopted.probing import (
    ANSWER_TOKENS,
    CUT_TOKENS,
    QUESTION,
    Probes,
    Streamed,
    Whole,
    message_text,
)
from appliance.engines.adopted.recognising import Claim, Found
from appliance.engines.adopted.servers import Ability
from appliance.engines.adopted.translating import usage_of

LEAST_LIKENESS = 0.6
"""How alike the whole answer and the streamed one must be: rounding may part them after a while."""
STREAM_TOKENS_WORTH_JUDGING = 12
LONGEST_RUN = 20
_MOST_TOKENS_BEYOND_TEXT = 400
"""What a chat template and its standing instructions may add to a prompt."""


@dataclass(frozen=True)
class Verdict:
    """It may answer when there is no reason against it."""

    reasons: tuple[str, ...]
    fingerprint: str
    claim: Claim | None
    is_another_model: bool = False
    """It was fit when it was adopted: only an admin may adopt what it is now."""

    @property
    def fit(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Called:
    """`name` is our name of the model, `model` the server's own."""

    name: str
    model: str
    judge_text: bool = True
    expects: str = ""
    """What the answer to the known question must hold."""


def claim_of(model: str, found: Found) -> Claim | None:
    """What the server says of `model`; Ollama's names may leave ":latest" away."""
    wanted = {model, f"{model}:latest"}
    return next((claim for claim in found.models if claim.id in wanted), None)


def verdict(called: Called, found: Found, probes: Probes, recorded: str) -> Verdict:
    """`recorded` is the fingerprint of the adoption, "" for none."""
    model = called.model
    claim = claim_of(model, found)
    if found.needs_key:
        return Verdict(("It wants a key, and accepts none that we have.",), "", None)
    if claim is None:
        listed = ", ".join(one.id for one in found.models[:5]) or "none"
        return Verdict((f"It does not list the model {model}, only: {listed}.",), "", None)
    contradicted = {reason for each in (called.name, model) for reason in contradictions(each, claim)}
    reasons = [*sorted(contradicted), *_reasons_of(probes, judge_text=called.judge_text)]
    if called.expects and not reasons:
        reasons += _known(probes, called.expects)
    seen = fingerprint_of(probes.fingerprints)
    if not reasons and not seen:
        reasons.append("It did not answer all fixed prompts.")
    differs = difference(recorded, seen) if recorded and seen else ""
    if differs:
        reasons = [
            f"Another model answers under the name {model} than the one that was adopted: {differs}. "
            "Adopt it anew if that is meant."
        ]
    return Verdict(tuple(reasons), seen, claim, bool(differs))


def _reasons_of(probes: Probes, *, judge_text: bool) -> Iterator[str]:
    trouble = next((one.trouble for one in (probes.whole, probes.streamed, probes.cut) if one.trouble), "")
    if trouble:
        yield f"It did not answer the fixed question: {trouble}."
        return
    wrong = list(_whole(probes.whole, judge_text=judge_text))
    yield from wrong
    if not wrong:
        yield from _streamed(probes.streamed, probes.whole)
        yield from _cut(probes.cut)


def _whole(one: Whole, *, judge_text: bool) -> Iterator[str]:
    answer = one.answer or {}
    if answer.get("object") != "chat.completion" or not isinstance(answer.get("choices"), list):
        yield "Its answer is no chat completion of OpenAI's form."
        return
    text = message_text(answer)
    garbage = garbage_in(text, QUESTION) if judge_text else ""
    if garbage:
        yield f"It answers garbage: {garbage}."
    yield from _usage(answer, QUESTION, text, ANSWER_TOKENS)


def _known(probes: Probes, expects: str) -> Iterator[str]:
    said = message_text(probes.known.answer or {}) if probes.known else ""
    if expects.casefold() not in said.casefold():
        begin = " ".join(said.split())[:60]
        yield f"It answers garbage: a question that every model can answer with {expects!r} got {begin!r}."


def unable_of(probes: Probes) -> frozenset[Ability]:
    """What its kind can, and this server with this model did not: a tool that had to be called was not."""
    tool = probes.tool
    if tool is None:
        return frozenset()
    choices = (tool.answer or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    message = first.get("message") if isinstance(first, dict) else {}
    message = message if isinstance(message, dict) else {}
    if tool.trouble or (message.get("content") and not message.get("tool_calls")):
        return frozenset({Ability.TOOLS, Ability.NAMED_TOOL, Ability.REQUIRED_TOOL})
    return frozenset()


def garbage_in(text: str, prompt: str) -> str:
    """Why a text is no answer to anything; "" for one that may be."""
    said = text.strip()
    if not said:
        return "the text is empty"
    if said == prompt.strip():
        return "it repeats the question"
    strange = sum(not each.isprintable() and not each.isspace() for each in said) + said.count("\ufffd")
    if strange > len(said) / 10:
        return "the text is not readable"
    if re.search(rf"(\S)\1{{{LONGEST_RUN},}}", said):
        return "one character comes again and again"
    words = said.split()
    if len(words) >= LONGEST_RUN and len(set(words)) <= 2:
        return "one word comes again and again"
    return ""


def _usage(answer: dict[str, Any], prompt: str, text: str, max_tokens: int) -> Iterator[str]:
    usage = usage_of(answer)
    if usage is None:
        yield "It does not tell how many tokens it used, so nobody's use could be counted."
        return
    read, made = usage["prompt_tokens"], usage["completion_tokens"]
    if not len(prompt) / 12 <= read <= len(prompt.encode()) + _MOST_TOKENS_BEYOND_TEXT:
        yield f"It counts {read} tokens for a prompt of {len(prompt)} characters, which can't be."
    if made > max_tokens:
        yield f"It made {made} tokens where {max_tokens} were allowed."
    elif made < 1 or (len(text) > 40 * made):
        yield f"It counts {made} tokens for an answer of {len(text)} characters, which can't be."


def _streamed(streamed: Streamed, whole: Whole) -> Iterator[str]:
    text, usages = streamed.text, [usage for event in streamed.events if (usage := usage_of(event))]
    said = message_text(whole.answer or {})
    if not text:
        yield "Its stream has no text."
        return
    if not usages:
        yield "Its stream does not tell how many tokens it used, so nobody's use could be counted."
    elif usages[-1]["completion_tokens"] >= STREAM_TOKENS_WORTH_JUDGING and streamed.reads < 2:
        yield "It does not stream: the whole answer comes at once."
    if difflib.SequenceMatcher(None, text, said, autojunk=False).ratio() < LEAST_LIKENESS:
        yield "It streams another answer than it gives whole, at temperature 0."


def _cut(cut: Whole) -> Iterator[str]:
    answer = cut.answer or {}
    usage = usage_of(answer)
    made = usage["completion_tokens"] if usage else 0
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    finish = first.get("finish_reason") if isinstance(first, dict) else None
    if made > CUT_TOKENS:
        yield f"It made {made} tokens where {CUT_TOKENS} were allowed."
    elif made == CUT_TOKENS and finish != "length":
        yield f"It says {str(finish)[:40]!r} of an answer that was cut by its limit."
