"""JSON mode and grammars: what a random model says under them is valid, or was cut by max_tokens."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engines.json_grammar import SchemaNotOffered, grammar_of_schema
from tests.engines.serving import Reply, RunningEngine

PERSON = {
    "title": "A person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0},
        "born": {"type": "string", "format": "date-time"},
        "kind": {"enum": ['a "quoted"\n\\ one', "é🦆", 3, None, {"x": [1]}]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        "boss": {"anyOf": [{"$ref": "#/$defs/boss"}, {"type": "null"}]},
        'odd/na~me "': {"type": ["null", "boolean"]},
    },
    "required": ["name", "kind", "boss"],
    "additionalProperties": False,
    "$defs": {
        "boss": {
            "type": "object",
            "properties": {"id": {"type": "string", "format": "uuid"}},
            "required": ["id"],
        }
    },
}
SCHEMAS: list[dict[str, Any]] = [
    PERSON,
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "object", "additionalProperties": {"type": "null"}},
    {"type": "array", "items": {"const": 'say "x"'}, "minItems": 2, "maxItems": 2},
    {"type": "array", "items": {"type": "null"}, "maxItems": 0},
    {"type": "string", "maxLength": 0},
    {"type": "number", "minimum": 0},
    {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}, "c": {"type": "null"}},
    },
    {"type": "object", "properties": {"next": {"$ref": "#"}, "end": {"const": 1}}, "required": ["end"]},
]


def ask(engine: RunningEngine, schema: dict[str, Any] | None, seed: int, **parameters: Any) -> Reply:
    form: dict[str, Any] = {"type": "json_object"}
    if schema is not None:
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    body = {"response_format": form, "seed": seed, "max_tokens": 400, **parameters}
    return engine.chat("x", **body)


def valid_or_cut(reply: Reply, schema: dict[str, Any] | bool) -> bool:
    """Whether it ended by itself; it must be valid then."""
    assert reply.status == 200, reply.body
    choice = reply.json()["choices"][0]
    if choice["finish_reason"] == "length":
        return False
    assert choice["finish_reason"] == "stop"
    value = json.loads(choice["message"]["content"])
    jsonschema_rs.validator_for(schema).validate(value)
    return True


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_answers_hold_the_schema(tiny_engine: RunningEngine, schema: dict[str, Any]) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda seed: valid_or_cut(ask(tiny_engine, schema, seed), schema), range(6)))
    assert any(ended)


def test_json_object_is_an_object_or_cut(tiny_engine: RunningEngine) -> None:
    # a bias towards quotes and brackets, else a random model never ends a string
    bias = {str(3 + byte): 8 for byte in b'"}]'}
    schema = {"type": "object"}
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda seed: ask(tiny_engine, None, seed, logit_bias=bias), range(12)))
    assert any([valid_or_cut(reply, schema) for reply in replies])


def test_a_cut_json_answer_says_length(tiny_engine: RunningEngine) -> None:
    choice = ask(tiny_engine, PERSON, 1, max_tokens=5).json()["choices"][0]
    assert choice["finish_reason"] == "length"


def test_the_demo_model_answers_in_json_too(demo_engine: RunningEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "why": {"type": "string", "maxLength": 30}},
        "required": ["ok", "why"],
    }
    assert valid_or_cut(ask(demo_engine, schema, 1, temperature=0), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a$"},
        {"type": "number", "maximum": 3},
        {"type": "integer", "minimum": 5},
        {"oneOf": [{"type": "null"}]},
        {"not": {"type": "null"}},
        {"type": "object", "patternProperties": {}},
        {"type": "object", "properties": {"a": {"type": "string", "contentEncoding": "base64"}}},
        {"type": "object", "required": ["a"]},
        {"type": "array", "uniqueItems": True},
        {"type": "array", "minItems": 5000},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "string", "format": "email"},
        {"$ref": "https://example.org/schema"},
        {"$ref": "#/$defs/nobody"},
        {"type": "thing"},
        {"enum": []},
        {"type": "string", "enum": [1]},
        {"type": ["string", "null"], "maxLength": 3},
        {"allOf": [{"type": "null"}, {"type": "null"}]},
        {"anyOf": [{"type": "null"}], "type": "null"},
        {"items": [{"type": "null"}], "type": "array"},
        {"properties": {"a": False}},
        {"$ref": "#/$defs/a", "$defs": ["a"]},
        {"$ref": "#/$defs/a", "$defs": None},
        {"type": "object", "properties": {"a": {}}, "required": [["a"]]},
        {"type": "object", "properties": {"a": {}}, "required": [{"a": 1}]},
        {"type": "string", "format": ["date"]},
    ],
)
def test_what_a_schema_cannot_be_held_to_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaNotOffered) as refused:
        grammar_of_schema(schema, "response_format")
    assert refused.value.param == "response_format"


WORDS = ["type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "$id"]
WORDS += ["format", "minLength", "maxLength", "minItems", "maxItems", "minimum", "additionalProperties", "a"]
VALUES = ["object", "array", "string", "integer", "null", "a", "#", "#/$defs/a", "date", 0, 1, None, True]


@settings(max_examples=2000, deadline=None)
@given(
    st.recursive(
        st.sampled_from(VALUES),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
        ),
        max_leaves=12,
    ).filter(lambda made: isinstance(made, dict))
)
def test_whatever_a_schema_says_is_a_grammar_or_refused(schema: dict[str, Any]) -> None:
    with suppress(SchemaNotOffered):
        grammar_of_schema(schema, "response_format")


def test_references_lead_no_further_up_than_to_the_next_id() -> None:
    def parts(value: str) -> dict[str, Any]:
        return {"$id": value, "$ref": "#/$defs/a", "$defs": {"a": {"const": value}}}

    grammar = grammar_of_schema({"anyOf": [parts("x"), parts("y"), parts("x")]}, "")
    assert grammar.count('"\\"x\\""') == 1 and grammar.count('"\\"y\\""') == 1


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(40):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaNotOffered, match="nested"):
        grammar_of_schema(schema, "response_format")


@pytest.mark.parametrize(
    "inner",
    [
        {"$ref": "#/$defs/a"},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]},
        {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]},
    ],
)
def test_a_reference_that_leads_back_to_itself_alone_is_refused(inner: dict[str, Any]) -> None:
    """No engine can begin such a value; within an object or a list it may lead back."""
    schema = {"$ref": "#/$defs/a", "$defs": {"a": inner, "b": {"$ref": "#/$defs/a"}}}
    with pytest.raises(SchemaNotOffered, match="back to itself"):
        grammar_of_schema(schema, "response_format")
    grammar_of_schema({**schema, "$defs": {"a": {"type": "array", "items": inner}, "b": {}}}, "")


def test_equal_parts_of_a_schema_are_one_rule() -> None:
    properties = {f"p{number}": {"type": "string", "maxLength": 1000} for number in range(300)}
    grammar = grammar_of_schema({"type": "object", "properties": properties}, "response_format")
    assert grammar.count("char{0,1000}") == 1


def test_limits_that_would_take_minutes_to_compile_are_refused() -> None:
    """As a request of OpenVINO's for 100 properties, each with another limit, held up everybody's answers."""
    properties = {f"p{number}": {"type": "string", "maxLength": 1000 - number} for number in range(100)}
    with pytest.raises(SchemaNotOffered, match="together"):
        grammar_of_schema({"type": "object", "properties": properties}, "response_format")


def test_a_refused_schema_is_a_400_that_names_the_place(tiny_engine: RunningEngine) -> None:
    reply = ask(tiny_engine, {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 2}}}, 0)
    assert reply.status == 400 and reply.error["param"] == "response_format"
    assert "/properties/a" in reply.error["message"] and "multipleOf" in reply.error["message"]


LISTS = {"type": "array", "items": {"$ref": "#/$defs/a"}}
READ_IN_MANY_WAYS: dict[str, Any] = {
    "$ref": "#/$defs/a",
    "$defs": {"a": {"anyOf": [LISTS, {**LISTS, "minItems": 1}, {**LISTS, "minItems": 2}]}},
}


def test_a_grammar_that_takes_too_long_costs_its_own_answer_only(tiny_engine: RunningEngine) -> None:
    """Lists in lists, each of three kinds; and a grammar with a thousand places to go on from."""
    deep = ask(tiny_engine, READ_IN_MANY_WAYS, 1, logit_bias={str(3 + ord("[")): 100})
    assert deep.json()["choices"][0]["finish_reason"] == "length" and deep.text.startswith("[[[[")
    assert deep.json()["usage"]["completion_tokens"] < 40
    wide = tiny_engine.chat("x", grammar='root ::= ("a"?){1000}', seed=1, max_tokens=400)
    assert wide.json()["choices"][0]["finish_reason"] == "length"
    assert valid_or_cut(ask(tiny_engine, {"type": "boolean"}, 1), {"type": "boolean"})


@pytest.mark.parametrize("greedy", [True, False])
def test_a_grammar_of_the_caller_is_kept(tiny_engine: RunningEngine, greedy: bool) -> None:
    reply = tiny_engine.complete(
        "x", grammar='root ::= ("yes" | "no") "!"', max_tokens=20, seed=1, temperature=0 if greedy else 1
    )
    assert reply.text in ("yes!", "no!")
    assert reply.json()["choices"][0]["finish_reason"] == "stop"
