"""Asking an adopted server the fixed questions by which it is judged: a whole answer, a stream, a cut one.

Nothing is judged here. What came is kept as it came, for `checking`; a question that got no answer keeps
the reason.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from appliance.engines.adopted.asking import Asker, read_whole
from appliance.engines.adopted.events import Events
from appliance.engines.adopted.servers import Ability, Server
from appliance.engines.adopted.translating import BadAnswer, quoted
from appliance.upstream import UpstreamLost

ANSWER_TOKENS = 32
CUT_TOKENS = 4
QUESTION = "Answer in one sentence: what can a computer do for an office?"
CUT_QUESTION = "Count from one to one hundred in words."
FINGERPRINT_PROMPTS = (
    "Tell me something about the sea.",
    "Nenne mir drei Werkzeuge und wozu sie gut sind.",
    "Write a short note to a colleague: 17 boxes, 4,096 bolts, 3/8 inch.",
    "Qu'est-ce qui fait un bon repas ?",
)
"""Open questions in several languages with figures: models and tokenizers part ways on them early."""
FINGERPRINT_TOKENS = 16
ANSWER_SECONDS = 60.0
TOOL_TOKENS = 128
KNOWN_TOKENS = 512
TOOL_QUESTION = "What is the weather in Paris?"
TOOL_PARAMETERS: Mapping[str, Any] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"enum": ["Paris", "Lyon"]}},
                    "required": ["city"],
                },
            },
        }
    ],
    "tool_choice": "required",
}
_NOTHING_MORE: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Whole:
    """One answer as it came; `trouble` where none did."""

    answer: dict[str, Any] | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Streamed:
    """The events of one stream; `reads` counts how many times bytes with text came."""

    events: tuple[dict[str, Any], ...] = ()
    reads: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    """Monotonic; of text."""
    trouble: str = ""

    @property
    def text(self) -> str:
        return "".join(delta_text(event) for event in self.events)


@dataclass(frozen=True)
class Probes:
    """All that a full check asks."""

    whole: Whole
    streamed: Streamed
    cut: Whole
    fingerprints: tuple[Whole, ...]
    tool: Whole | None = None
    """Where its kind calls a tool that must be called."""
    known: Whole | None = None
    """To a question of which the answer is known."""


class Prober:
    """Asks `model` of one server, at temperature 0."""

    def __init__(self, asker: Asker, server: Server, model: str) -> None:
        self._asker = asker
        self._server = server
        self._model = model

    async def probe(self, known_question: str = "") -> Probes:
        """One after the other: what runs beside it would change the answers. "": no known question."""
        whole = await self.ask(QUESTION, ANSWER_TOKENS)
        if whole.answer is None:  # there is no use in waiting for more of it
            return Probes(whole, Streamed(), Whole(), ())
        streamed = await self.stream(QUESTION, ANSWER_TOKENS)
        cut = await self.ask(CUT_QUESTION, CUT_TOKENS)
        prints = [await self.ask(prompt, FINGERPRINT_TOKENS) for prompt in FINGERPRINT_PROMPTS]
        forced = not {Ability.TOOLS, Ability.REQUIRED_TOOL} & self._server.refuses
        tool = await self.ask(TOOL_QUESTION, TOOL_TOKENS, TOOL_PARAMETERS) if forced else None
        known = await self.ask(known_question, KNOWN_TOKENS) if known_question else None
        return Probes(whole, streamed, cut, tuple(prints), tool, known)

    async def ask(self, prompt: str, max_tokens: int, more: Mapping[str, Any] = _NOTHING_MORE) -> Whole:
        body = {**self._body(prompt, max_tokens), **more}
        try:
            reply = await self._asker.post(self._path, body, within_seconds=ANSWER_SECONDS)
        except UpstreamLost as lost:
            return Whole(trouble=str(lost))
        answer = reply.json()
        if reply.status != 200:
            return Whole(trouble=f"it answered {reply.status}: {quoted(answer)}")
        return Whole(answer) if isinstance(answer, dict) else Whole(trouble="its answer is no JSON object")

    async def stream(self, prompt: str, max_tokens: int, *, ignore_eos: bool = False) -> Streamed:
        body = self._body(prompt, max_tokens) | {"stream": True, "stream_options": {"include_usage": True}}
        if ignore_eos:
            body["ignore_eos"] = True
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._read_stream(orjson.dumps(body))
        except TimeoutError:
            return Streamed(trouble=f"no whole answer within {ANSWER_SECONDS:g} s")
        except (UpstreamLost, BadAnswer) as error:
            return Streamed(trouble=str(error))

    async def _read_stream(self, body: bytes) -> Streamed:
        connection = await self._asker.begin("POST", self._path, body)
        reader, events = Events(), []
        reads, first_at, last_at = 0, 0.0, 0.0
        try:
            if connection.status != 200:
                await read_whole(connection)
                return Streamed(trouble=f"it answered {connection.status} to a stream")
            while (data := await connection.read()) is not None:
                came = reader.feed(data)
                events += came
                if any(delta_text(event) for event in came):
                    reads, last_at = reads + 1, time.monotonic()
                    first_at = first_at or last_at
        finally:
            connection.release()
        return Streamed((*events, *reader.end()), reads, first_at, last_at)

    @property
    def _path(self) -> str:
        return f"{self._server.prefix}/chat/completions"

    def _body(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            self._server.tokens_parameter: max_tokens,
            "temperature": 0,
        }


def message_text(answer: dict[str, Any]) -> str:
    """What the first choice says, its thinking too; "" where there is none."""
    return _text_in(answer, "message")


def delta_text(event: dict[str, Any]) -> str:
    return _text_in(event, "delta")


def _text_in(answer: dict[str, Any], part: str) -> str:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    message = first.get(part) if isinstance(first, dict) else {}
    if not isinstance(message, dict):
        return ""
    said = (message.get("reasoning_content") or message.get("reasoning"), message.get("content"))
    return "".join(text for text in said if isinstance(text, str))
