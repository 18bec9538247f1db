"""Which field is named, and what is said of it, where a body is not as the contract says."""

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.engines.contract import ChatRequest, CompletionRequest, EmbeddingRequest
from appliance.engines.kinds_contract import RerankRequest
from appliance.engines.wrong_body import Wrong, first_wrong

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def wrong(kind: Any, **given: Any) -> Wrong:
    body = {"model": "m", **given}
    with pytest.raises(ValidationError) as raised:
        kind.model_validate(body)
    return first_wrong(raised.value, body)


def wrong_chat(**given: Any) -> Wrong:
    return wrong(ChatRequest, **{"messages": [{"role": "user", "content": "a"}], **given})


@pytest.mark.parametrize(
    ("given", "sentence", "param"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]},
            "messages.0.content.1: only parts of type text are taken: no model here sees or hears.",
            "messages",
        ),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required.", "messages"),
        (
            {"messages": [{"role": "user", "content": "a", "user": 1}]},
            "There is no parameter 'messages.0.user' here.",
            "messages",
        ),
        ({"stop": [1]}, "stop.0: Input should be a valid string.", "stop"),
        ({"stop": ""}, "stop: String should have at least 1 character.", "stop"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "any"},
            "tool_choice: Input should be 'none', 'auto' or 'required'.",
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice needs tools.", "tool_choice"),
        ({"temprature": 1}, "There is no parameter 'temprature' here.", "temprature"),
    ],
)
def test_the_field_is_named_as_it_was_sent(given: dict[str, Any], sentence: str, param: str) -> None:
    assert wrong_chat(**given) == (sentence, param)


def test_of_a_union_the_member_is_told_that_says_most() -> None:
    many = "input: List should have at most 2048 items after validation, not 2049."
    assert wrong(EmbeddingRequest, input=["a"] * 2049) == (many, "input")
    assert wrong(EmbeddingRequest, input=[]).sentence.startswith("input: List should have at least 1 item")
    assert wrong(CompletionRequest, prompt=[1, -2]).sentence.startswith("prompt.1: Input should be greater")
    titled = wrong(RerankRequest, query="a", documents=["b", {"title": "x"}])
    assert titled == ("documents.1.text: Field required.", "documents")


def test_what_is_no_object_at_all() -> None:
    with pytest.raises(ValidationError) as raised:
        ChatRequest.model_validate([1])
    assert first_wrong(raised.value, [1]).param is None
