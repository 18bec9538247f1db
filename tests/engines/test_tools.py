"""Tools: offered where the model's template knows them, forced by tool_choice, streamed as whole calls."""

import json
from typing import Any

import pytest

from appliance.engines.tool_calls import CalledTool, ToolCallSplitter
from tests.engines.serving import RunningEngine

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"enum": ["Paris", "Lyon"]},
                    "days": {"type": "integer", "minimum": 0},
                },
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "news")
]
ANSWERED = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "news"}}])
def test_a_forced_call_is_valid(tiny_engine: RunningEngine, choice: Any) -> None:
    reply = tiny_engine.chat("x", tools=TOOLS, tool_choice=choice, seed=3, max_tokens=300)
    assert reply.status == 200, reply.body
    answer = reply.json()["choices"][0]
    assert answer["finish_reason"] == "tool_calls" and answer["message"]["content"] is None
    [call] = answer["message"]["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["city"] in ("Paris", "Lyon") and call["id"].startswith("call_")
    assert call["function"]["name"] in ("weather", "news")
    if isinstance(choice, dict):
        assert call["function"]["name"] == "news"


def test_each_tools_references_lead_into_its_own_schema(tiny_engine: RunningEngine) -> None:
    """Two with a definition of one name, as programs generate them; one with the older word for it."""

    def tool(name: str, word: str) -> dict[str, Any]:
        parameters = {
            "properties": {"it": {"$ref": f"#/{word}/It"}, "again": {"$ref": "#"}},
            "required": ["it"],
            word: {"It": {"const": f"of {name}"}},
        }
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    tools = [tool("one", "$defs"), tool("two", "$defs"), tool("three", "definitions")]
    for one in tools:
        name = one["function"]["name"]
        choice = {"type": "function", "function": {"name": name}}
        both = tiny_engine.chat("x", tools=tools, tool_choice="required", seed=1, max_tokens=1)
        assert both.status == 200, both.body
        reply = tiny_engine.chat("x", tools=tools, tool_choice=choice, seed=1, max_tokens=300)
        [call] = reply.json()["choices"][0]["message"]["tool_calls"]
        at: Any = json.loads(call["function"]["arguments"])
        while at:
            assert at["it"] == f"of {name}"
            at = at.get("again")


@pytest.mark.parametrize(
    "parameters", [{"$defs": [1]}, {"$defs": 5}, {"$defs": None}, {"type": "string"}, {"type": ["object"]}]
)
def test_parameters_that_are_none_are_refused_or_passed_over(
    tiny_engine: RunningEngine, parameters: dict[str, Any]
) -> None:
    tools = [{"type": "function", "function": {"name": "it", "parameters": parameters}}]
    reply = tiny_engine.chat("x", tools=tools, tool_choice="required", max_tokens=2)
    assert (reply.status, reply.status != 200 and reply.error["param"]) in ((200, False), (400, "tools"))
    assert reply.status == 200 or "type" in parameters


@pytest.mark.parametrize(("arguments", "status"), [("", 200), ("[" * 100_000, 400), ("1" * 5000, 400)])
def test_arguments_that_come_back_are_read_or_refused(
    tiny_engine: RunningEngine, arguments: str, status: int
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    messages = [ANSWERED[0], {"role": "assistant", "tool_calls": [call]}, ANSWERED[2]]
    reply = tiny_engine.chat("", messages=messages, tools=TOOLS, max_tokens=2)
    assert reply.status == status, reply.body


def test_a_forced_call_streams_to_the_official_client(tiny_engine: RunningEngine) -> None:
    body: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "seed": 5, "max_tokens": 300}
    stream = tiny_engine.client().chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": "x"}], stream=True, extra_body=body
    )
    choices = [chunk.choices[0] for chunk in stream]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert len(calls) == 1 and calls[0].index == 0 and calls[0].function
    assert json.loads(calls[0].function.arguments or "")["city"] in ("Paris", "Lyon")
    assert not any(choice.delta.content for choice in choices)
    assert choices[-1].finish_reason == "tool_calls"


def test_beside_json_a_tool_may_be_called(tiny_engine: RunningEngine) -> None:
    """As agents ask: the model calls a tool, or gives its last answer in JSON."""
    functions: list[dict[str, Any]] = [{**tool["function"], "strict": True} for tool in TOOLS]
    strict = [{"type": "function", "function": function} for function in functions]
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    finishes = set()
    for seed in range(12):
        body: dict[str, Any] = {"response_format": form, "seed": seed, "max_tokens": 300}
        answer = tiny_engine.chat("x", tools=strict, **body).json()["choices"][0]
        finishes.add(answer["finish_reason"])
        if answer["finish_reason"] == "tool_calls":
            [call] = answer["message"]["tool_calls"]
            assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Lyon")
            assert call["function"]["name"] in ("weather", "news")
        elif answer["finish_reason"] == "stop":
            assert isinstance(json.loads(answer["message"]["content"])["ok"], bool)
    assert finishes >= {"tool_calls", "stop"}
    plain = tiny_engine.chat("x", tools=TOOLS, tool_choice="none", response_format=form, seed=1)
    assert set(json.loads(plain.text)) >= {"ok"}


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_a_stream_tells_the_log_probabilities_of_calls_too(tiny_engine: RunningEngine, choice: str) -> None:
    body: dict[str, Any] = {"tools": TOOLS, "tool_choice": choice, "seed": 7, "max_tokens": 300}
    body |= {"logprobs": True, "logit_bias": {"63": 6}}  # <, which may begin a call
    whole = tiny_engine.chat("x", **body).json()["choices"][0]["logprobs"]["content"]
    stream = tiny_engine.client().chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": "x"}], stream=True, **body
    )
    told = [chunk.choices[0].logprobs for chunk in stream]
    tokens = [one.token for logprobs in told if logprobs for one in logprobs.content or ()]
    assert tokens == [one["token"] for one in whole] and len(tokens) > 20 and "<" in tokens


def test_tools_and_their_results_reach_the_template(tiny_engine: RunningEngine) -> None:
    def prompt_tokens(**parameters: Any) -> int:
        body = {"model": "test-model", "messages": ANSWERED, "max_tokens": 1, **parameters}
        reply = tiny_engine.call("POST", "/v1/chat/completions", body)
        assert reply.status == 200, reply.body
        return int(reply.json()["usage"]["prompt_tokens"])

    assert (
        prompt_tokens(tools=TOOLS, tool_choice="auto") > prompt_tokens(tools=TOOLS, tool_choice="none") + 50
    )


def test_a_tool_that_is_not_there_is_refused(tiny_engine: RunningEngine) -> None:
    choice = {"type": "function", "function": {"name": "sports"}}
    reply = tiny_engine.chat("x", tools=TOOLS, tool_choice=choice)
    assert reply.status == 400 and reply.error["param"] == "tool_choice"


def test_a_model_whose_template_knows_no_tools_refuses_them(demo_engine: RunningEngine) -> None:
    reply = demo_engine.chat("x", tools=TOOLS)
    assert reply.status == 400 and reply.error["param"] == "tools"


def test_calls_are_found_in_text_cut_anywhere() -> None:
    text = 'Well <b> <tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    text += '\n<tool_call>{"name": "g", "arguments": {}}</tool_call>'
    for size in range(1, len(text)):
        splitter = ToolCallSplitter()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        found: list[str | CalledTool] = []
        for place, piece in enumerate(pieces):
            found += splitter.push(piece, last=place == len(pieces) - 1)
        calls = [(one.name, one.arguments) for one in found if isinstance(one, CalledTool)]
        assert calls == [("f", '{"a": 1}'), ("g", "{}")]
        assert "".join(one for one in found if isinstance(one, str)).strip() == "Well <b>"


@pytest.mark.parametrize(
    "text", ["<tool_call>not json</tool_call>!", '<tool_call>{"name": 1}</tool_call>', "a <tool_ca"]
)
def test_what_is_no_valid_call_stays_text(text: str) -> None:
    splitter = ToolCallSplitter()
    assert "".join(map(str, splitter.push(text, last=True))) == text
    assert splitter.calls == 0


def test_calls_that_must_not_be_parallel_end_with_the_first() -> None:
    text = 'One. <tool_call>{"name": "a", "arguments": {}}</tool_call>\n'
    text += '<tool_call>{"name": "b", "arguments": {}}</tool_call> Two.'
    for size in (1, 7, len(text)):
        splitter = ToolCallSplitter(parallel=False)
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        parts = [part for piece in pieces for part in splitter.push(piece, last=piece is pieces[-1])]
        assert "".join(part for part in parts if isinstance(part, str)).strip() == "One."
        assert [part.name for part in parts if isinstance(part, CalledTool)] == ["a"]
