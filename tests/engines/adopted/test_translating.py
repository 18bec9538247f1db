"""A request in a server's own words, a refusal of its own in ours, and what is refused before it is asked."""

from dataclasses import replace
from typing import Any

import pytest

from appliance.engines.adopted.asking import Asker, Place
from appliance.engines.adopted.events import Events
from appliance.engines.adopted.fingerprint import characters_per_token
from appliance.engines.adopted.probing import Whole
from appliance.engines.adopted.refusing import check_request, refusal_of
from appliance.engines.adopted.servers import SERVERS, ServerKind
from appliance.engines.adopted.target import Target
from appliance.engines.adopted.translating import BadAnswer, Form, quoted, server_bodies, usage_together
from appliance.engines.contract import ChatRequest, CompletionRequest
from appliance.errors import Refusal

HELLO = [{"role": "user", "content": "hello"}]
HEARD = {"role": "assistant", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "weather"}}


def chat(**parameters: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "ours", "messages": HELLO, **parameters})


def plain(prompt: Any = "hello", **parameters: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"model": "ours", "prompt": prompt, **parameters})


def called_with(arguments: str) -> list[dict[str, Any]]:
    call = {"id": "c", "function": {"name": "weather", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": "c", "content": "rain"}
    return [*HELLO, {"role": "assistant", "tool_calls": [call]}, result]


@pytest.fixture
def ollama() -> Target:
    asker = Asker(Place("127.0.0.1", 1))
    kind = ServerKind.OLLAMA
    return Target(asker, SERVERS[kind], kind, "m", context_tokens=4096, characters_per_token=4.0)


def of_kind(target: Target, kind: ServerKind) -> Target:
    return replace(target, kind=kind, server=SERVERS[kind])


def test_each_choice_of_each_prompt_is_a_request_of_its_own() -> None:
    bodies = server_bodies(plain(["a", "b"], n=2, best_of=2, seed=-1), SERVERS[ServerKind.VLLM], "theirs")
    assert [(body["prompt"], body["seed"]) for body in bodies] == [
        ("a", 2**31 - 1), ("a", 0), ("b", 2**31 - 1), ("b", 0),
    ]  # fmt: skip
    assert all(body["max_tokens"] == 16 and body["model"] == "theirs" for body in bodies)
    assert not any({"n", "best_of", "user"} & set(body) for body in bodies)


def test_a_chat_without_a_limit_gets_one_where_the_servers_own_is_low() -> None:
    [body] = server_bodies(chat(), SERVERS[ServerKind.MLX_LM], "m")
    assert body["max_tokens"] == 4096
    [body] = server_bodies(chat(), SERVERS[ServerKind.VLLM], "m")
    assert "max_tokens" not in body


def test_a_call_of_an_earlier_turn_keeps_its_type() -> None:
    for given in ("{}", ""):
        [body] = server_bodies(chat(messages=called_with(given)), SERVERS[ServerKind.VLLM], "m")
        function = {"name": "weather", "arguments": "{}"}
        assert body["messages"][1]["tool_calls"] == [{"id": "c", "type": "function", "function": function}]


@pytest.mark.parametrize(
    ("request_", "kind", "param"),
    [
        (chat(top_k=5), ServerKind.OLLAMA, "top_k"),
        (chat(logit_bias={"1": 1}), ServerKind.OLLAMA, "logit_bias"),
        (chat(response_format={"type": "json_object"}), ServerKind.LM_STUDIO, "response_format"),
        (chat(tools=[TOOL], tool_choice="required"), ServerKind.OLLAMA, "tool_choice"),
        (chat(presence_penalty=1), ServerKind.MLX_LM, "presence_penalty"),
        (chat(logprobs=True), ServerKind.MLX_LM, "logprobs"),
        (chat(grammar='root ::= "a"'), ServerKind.VLLM, "grammar"),
        (plain([1, 2]), ServerKind.TGI, "prompt"),
        (plain(suffix="x"), ServerKind.LLAMA_SERVER, "suffix"),
        (chat(seed=1), ServerKind.LEMONADE, "seed"),
        (plain(""), ServerKind.VLLM, "prompt"),
        (chat(messages=[*HELLO, HEARD]), ServerKind.LLAMA_SERVER, "messages"),
        (chat(messages=called_with("no JSON")), ServerKind.LLAMA_SERVER, "messages"),
        (chat(messages=[*HELLO, HEARD]), ServerKind.OLLAMA, "messages"),
    ],
)
def test_what_a_kind_can_not_do_is_refused_by_its_parameter(
    ollama: Target, request_: ChatRequest | CompletionRequest, kind: ServerKind, param: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_request(request_, of_kind(ollama, kind))
    assert refused.value.param == param and refused.value.http_status == 400


def test_an_answer_after_an_answer_is_asked_of_who_gives_a_new_one(ollama: Target) -> None:
    check_request(chat(messages=[*HELLO, HEARD]), of_kind(ollama, ServerKind.VLLM))


@pytest.mark.parametrize("kind", ServerKind)
def test_a_plain_request_is_taken_by_every_kind(ollama: Target, kind: ServerKind) -> None:
    asked = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "stop": ["x"]}
    check_request(chat(**asked, n=2, user="ada"), of_kind(ollama, kind))
    check_request(plain(["a", "b"], **asked), of_kind(ollama, kind))


def test_a_prompt_that_the_server_would_cut_is_refused_instead(ollama: Target) -> None:
    fits, too_long = "word " * 3000, "word " * 3500
    for request in (chat(messages=[{"role": "user", "content": fits}]), plain(fits)):
        check_request(request, ollama)
    for request, param in (
        (chat(messages=[{"role": "user", "content": too_long}]), "messages"),
        (plain(too_long), "prompt"),
    ):
        with pytest.raises(Refusal, match="about 4375 tokens") as refused:
            check_request(request, ollama)
        assert refused.value.code == "context_length_exceeded" and refused.value.param == param
        check_request(request, of_kind(ollama, ServerKind.VLLM))  # that one says so itself


def test_characters_of_a_token_are_measured_on_the_fixed_prompts() -> None:
    def counted(tokens: int) -> Whole:
        return Whole({"usage": {"prompt_tokens": tokens, "completion_tokens": 1}})

    assert characters_per_token(counted(30), counted(24)) == pytest.approx(29 / 6)
    assert characters_per_token(counted(24), counted(24)) == 0
    assert characters_per_token(Whole(), counted(24)) == 0


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"message": "maximum context length is 4096 tokens"}}, "context_length_exceeded"),
        (
            400,
            {"error": {"message": "the request exceeds the available context size"}},
            "context_length_exceeded",
        ),
        (
            422,
            {"error": "Input validation error: `inputs` must have less", "error_type": "v"},
            "refused_by_server",
        ),
        (400, {"object": "error", "message": "top_k must be -1 or more"}, "refused_by_server"),
        (401, {"error": "Unauthorized"}, "adopted_key_not_accepted"),
        (429, {"error": "Model is overloaded"}, "engine_busy"),
        (404, {"error": "model not found"}, "adopted_server_failed"),
        (500, None, "adopted_server_failed"),
        (503, {"error": {"message": "Loading model"}}, "adopted_server_failed"),
    ],
)
def test_a_refusal_in_any_servers_shape_becomes_one_of_ours(status: int, body: object, code: str) -> None:
    refusal = refusal_of(status, body, SERVERS[ServerKind.VLLM], chat())
    assert refusal.code == code and "vLLM" in refusal.sentence


def test_what_a_server_says_is_quoted_without_what_could_trick_a_terminal() -> None:
    assert quoted({"error": {"message": "a\x1b[2Jb\n" + "c" * 1000}}).startswith("a [2Jb ccc")
    assert len(quoted({"error": "x" * 5000})) == 400 and quoted([1]) == "no reason"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_events_come_whole_out_of_any_pieces(size: int) -> None:
    stream = (
        b': ping\n\ndata: {"a":1}\r\n\r\nevent: x\ndata: {"b":\ndata: 2}\n\ndata:{"c":3}\n\ndata: [DONE]\n\n'
    )
    events, got = Events(), []
    for start in range(0, len(stream), size):
        got += events.feed(stream[start : start + size])
    assert [*got, *events.end()] == [{"a": 1}, {"b": 2}, {"c": 3}] and events.done


@pytest.mark.parametrize("stream", [b"data: {\n\n", b"data: 7\n\n", b"data: \xff\n\n"])
def test_events_that_are_none(stream: bytes) -> None:
    with pytest.raises(BadAnswer):
        Events().feed(stream)


def test_an_old_servers_error_line_is_an_error() -> None:
    assert Events().feed(b'error: {"code": 500, "message": "m"}\n\n') == [
        {"error": {"code": 500, "message": "m"}}
    ]


def test_words_of_the_servers_own_for_the_end_become_openais() -> None:
    form = Form("id", 1, "ours", is_chat=True, top_logprobs=0)
    for theirs, ours in (("eos_token", "stop"), ("length", "length"), ("", None), (None, None)):
        assert form.choice({"index": 5, "finish_reason": theirs}, 2)["finish_reason"] == ours
    logprobs = {"content": [{"token": "a", "top_logprobs": [1, 2]}]}
    cut = form.choice({"logprobs": logprobs}, 0)["logprobs"]
    assert cut == {"content": [{"token": "a", "top_logprobs": []}]}


def test_usage_counts_a_prompt_once_and_every_choice() -> None:
    one = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    assert usage_together([one] * 4, choices_of_prompt=2) == {
        "prompt_tokens": 20,
        "completion_tokens": 12,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
