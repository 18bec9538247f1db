"""One request for each parameter of the contract, with what shows in the answer that it was honoured.

A probe is sent to every engine. Where the engine can't do it, the refusal must name `param`; else `shows` is
asked for the proof.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engines.serving import Reply, RunningEngine

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Paris", "Lyon"]}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "news")
]
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["laptop", "station"]}, "sure": {"type": "boolean"}},
    "required": ["kind", "sure"],
    "additionalProperties": False,
}
Proof = Callable[[RunningEngine, Reply], bool]
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """Parameters of a chat request, or of a plain completion."""

    param: str
    shows: Proof
    parameters: Parameters = field(default_factory=dict)
    plain: bool = False

    def ask(self, engine: RunningEngine) -> Reply:
        parameters = {"max_tokens": 24, **self.parameters}
        return engine.complete("abc", **parameters) if self.plain else engine.chat("abc", **parameters)


def _first(reply: Reply) -> Any:
    return reply.json()["choices"][0]


def _same_as(**parameters: Any) -> Proof:
    """The answer is the one that these parameters give."""

    def shows(engine: RunningEngine, reply: Reply) -> bool:
        return engine.chat("abc", max_tokens=24, **parameters).text == reply.text

    return shows


def _other_than(**parameters: Any) -> Proof:
    """The answer is not the one that these parameters give."""
    same = _same_as(**parameters)
    return lambda engine, reply: not same(engine, reply)


def _holds_schema(_engine: RunningEngine, reply: Reply) -> bool:
    value = json.loads(reply.text)
    return set(value) == {"kind", "sure"} and value["kind"] in ("laptop", "station")


def _calls(name: str | None) -> Proof:
    def shows(_engine: RunningEngine, reply: Reply) -> bool:
        [call] = _first(reply)["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        named = call["function"]["name"]
        finished = _first(reply)["finish_reason"] == "tool_calls"
        return finished and arguments["city"] in ("Paris", "Lyon") and name in (None, named)

    return shows


def _calls_and_answers(_engine: RunningEngine, reply: Reply) -> bool:
    """Of several choices some call a tool and some say JSON; the rest are cut."""
    finishes = set()
    for choice in reply.json()["choices"]:
        message, finish = choice["message"], choice["finish_reason"]
        finishes.add(finish)
        if finish == "tool_calls":
            json.loads(message["tool_calls"][0]["function"]["arguments"])
        elif finish == "stop" and set(json.loads(message["content"])) != {"kind", "sure"}:
            return False
    return finishes >= {"tool_calls", "stop"}


def _logprobs(_engine: RunningEngine, reply: Reply) -> bool:
    entries = _first(reply)["logprobs"]["content"]
    return len(entries) == reply.json()["usage"]["completion_tokens"] and all(
        entry["logprob"] <= 0 for entry in entries
    )


def _top_logprobs(_engine: RunningEngine, reply: Reply) -> bool:
    entries = _first(reply)["logprobs"]["content"]
    return all(
        len(entry["top_logprobs"]) == 3 and entry["top_logprobs"][0]["token"] == entry["token"]
        for entry in entries
    )


def _biased(_engine: RunningEngine, reply: Reply) -> bool:
    return reply.text == "!" * 24


EXCLAMATION_MARK = 3 + ord("!")  # the single bytes follow the three control tokens
GREEDY = {"temperature": 0, "ignore_eos": True}
DRAWN = {"temperature": 1.5, "seed": 11, "ignore_eos": True}

PROBES: dict[str, Probe] = {
    "temperature": Probe("temperature", _other_than(**GREEDY), DRAWN),
    "top_p": Probe("top_p", _same_as(**GREEDY), {**DRAWN, "top_p": 1e-6}),
    "top_k": Probe("top_k", _same_as(**GREEDY), {**DRAWN, "top_k": 1}),
    "min_p": Probe("min_p", _same_as(**GREEDY), {**DRAWN, "min_p": 1.0}),
    "seed": Probe("seed", _same_as(**DRAWN), DRAWN),
    "presence_penalty": Probe(
        "presence_penalty", _other_than(**GREEDY), {**GREEDY, "presence_penalty": 2.0, "max_tokens": 24}
    ),
    "frequency_penalty": Probe(
        "frequency_penalty", _other_than(**GREEDY), {**GREEDY, "frequency_penalty": 2.0, "max_tokens": 24}
    ),
    "logit_bias": Probe("logit_bias", _biased, {**GREEDY, "logit_bias": {str(EXCLAMATION_MARK): 100}}),
    "logprobs": Probe("logprobs", _logprobs, {**GREEDY, "logprobs": True}),
    "top_logprobs": Probe("top_logprobs", _top_logprobs, {**GREEDY, "logprobs": True, "top_logprobs": 3}),
    "completion logprobs": Probe(
        "logprobs",
        lambda _engine, reply: all(len(top) == 2 for top in _first(reply)["logprobs"]["top_logprobs"]),
        {**GREEDY, "logprobs": 2},
        plain=True,
    ),
    "echo": Probe(
        "echo", lambda _engine, reply: reply.text.startswith("abc"), {**GREEDY, "echo": True}, plain=True
    ),
    "grammar": Probe(
        "grammar",
        lambda _engine, reply: reply.text in ("yes", "no"),
        {"grammar": 'root ::= "yes" | "no"', "seed": 1},
    ),
    "json_schema": Probe(
        "response_format",
        _holds_schema,
        {
            "response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}},
            "seed": 1,
            "max_tokens": 200,
        },
    ),
    "json_object": Probe(
        "response_format",
        lambda _engine, reply: (
            _first(reply)["finish_reason"] == "length" or isinstance(json.loads(reply.text), dict)
        ),
        {"response_format": {"type": "json_object"}, "seed": 1, "max_tokens": 200},
    ),
    "tools": Probe(
        "tools", _calls(None), {"tools": TOOLS, "tool_choice": "required", "seed": 3, "max_tokens": 300}
    ),
    "tool_choice": Probe(
        "tool_choice",
        _calls("news"),
        {
            "tools": TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "news"}},
            "seed": 3,
            "max_tokens": 300,
        },
    ),
    "tools beside json": Probe(
        "tools",
        _calls_and_answers,
        {
            "tools": TOOLS,
            "response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}},
            "n": 8,
            "seed": 3,
            "max_tokens": 300,
        },
    ),
    "n": Probe(
        "n",
        lambda _engine, reply: len({choice["message"]["content"] for choice in reply.json()["choices"]}) == 3,
        {**DRAWN, "n": 3},
    ),
}
