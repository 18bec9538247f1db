"""What can't be honoured is refused by name, as an OpenAI error object; nothing is ignored in silence."""

import json
import socket
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines.serving import RunningEngine

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"seed": 2**63}, "seed"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"logit_bias": {"00000000009999999999": 1}}, "logit_bias"),
        ({"logit_bias": {"0" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_object"}, "stop": "}"}, "stop"),
        ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "grammar"),
        ({"grammar": "no grammar"}, "grammar"),
        ({"grammar": ""}, "grammar"),
        ({"grammar": " "}, "grammar"),
        ({"grammar": "# root\n"}, "grammar"),
        ({"grammar": 'root ::= "a"\0 | "b"'}, "grammar"),
        ({"grammar": "root ::= root"}, "grammar"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": []}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "messages"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_a_chat_parameter_that_cannot_be_honoured(
    tiny_engine: RunningEngine, parameters: dict[str, Any], param: str
) -> None:
    body = {"model": "test-model", "messages": HELLO, **parameters}
    reply = tiny_engine.call("POST", "/v1/chat/completions", body)
    assert reply.status == 400, reply.body
    assert reply.error["param"] == param
    assert reply.error["type"] == "invalid_request_error" and reply.error["message"] and reply.error["code"]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"best_of": 3}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"logprobs": 6}, "logprobs"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, -2]}, "prompt"),
        ({"prompt": [99999]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"messages": HELLO}, "messages"),
    ],
)
def test_a_completion_parameter_that_cannot_be_honoured(
    tiny_engine: RunningEngine, parameters: dict[str, Any], param: str
) -> None:
    body = {"model": "test-model", "prompt": "a", **parameters}
    reply = tiny_engine.call("POST", "/v1/completions", body)
    assert reply.status == 400, reply.body
    assert reply.error["param"] == param


def test_nulls_count_as_absent(tiny_engine: RunningEngine) -> None:
    reply = tiny_engine.chat("a", max_tokens=1, temperature=None, stop=None, tools=None, functions=None)
    assert reply.status == 200


def test_a_prompt_over_the_context_names_both_numbers(tiny_engine: RunningEngine) -> None:
    reply = tiny_engine.complete([5] * 1024)
    assert reply.status == 400 and reply.error["code"] == "context_length_exceeded"
    assert (
        "1024 tokens" in reply.error["message"] and "context of this model has 1024" in reply.error["message"]
    )
    reply = tiny_engine.chat("hat " * 5000)
    assert reply.error["code"] == "context_length_exceeded" and reply.error["param"] == "messages"


def test_an_unknown_model_is_not_found(tiny_engine: RunningEngine) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        tiny_engine.client().completions.create(model="gpt-7", prompt="a")
    assert refused.value.code == "model_not_found" and "test-model" in str(refused.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[1]", b'"a"', b"null", b'{"model":NaN}', b"[" * 10000]
)
def test_a_body_that_is_no_request(tiny_engine: RunningEngine, body: bytes) -> None:
    reply = tiny_engine.call("POST", "/v1/chat/completions", body)
    assert reply.status == 400 and reply.error["message"]


def test_a_body_over_the_limit_is_413_declared_or_not(tiny_engine: RunningEngine) -> None:
    with socket.create_connection(("127.0.0.1", tiny_engine.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: e\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", tiny_engine.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(9):
                connection.sendall(b"100000\r\n" + b"a" * 0x100000 + b"\r\n")
        except OSError:
            pass  # closed before all of it was sent
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_paths_and_methods_that_are_not_there(tiny_engine: RunningEngine) -> None:
    assert tiny_engine.call("GET", "/v1/nothing").status == 404
    assert tiny_engine.call("GET", "/v1/completions").status == 405
    assert tiny_engine.call("POST", "/v1/models").error["code"] == "method_not_allowed"


def test_the_request_id_comes_back_unless_it_is_unfit(tiny_engine: RunningEngine) -> None:
    reply = tiny_engine.call("GET", "/v1/models", headers={"X-Request-Id": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"
    reply = tiny_engine.call("GET", "/v1/models", headers={"X-Request-Id": "a b" * 100})
    assert len(reply.headers["x-request-id"]) == 32


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["temperature", "top_p", "stop", "n", "seed", "logit_bias", "response_format", "tools", "tool_choice"]
NAMES += ["messages", "prompt", "stream", "stream_options", "logprobs", "input", "echo", "suffix", "grammar"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["chat/completions", "completions", "embeddings"]),
    given_=st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=4),
)
def test_whatever_is_sent_is_never_our_failure(
    tiny_engine: RunningEngine, path: str, given_: dict[str, Any]
) -> None:
    subject: dict[str, Any] = {"messages": HELLO} if path.startswith("chat") else {"prompt": "a"}
    if path == "embeddings":
        subject = {"input": "a"}
    else:
        subject["max_tokens"] = 2
    reply = tiny_engine.call(
        "POST", f"/v1/{path}", json.dumps({"model": "test-model", **subject, **given_}).encode()
    )
    assert reply.status in (200, 400), reply.body
    assert reply.status == 200 or reply.error["message"]
