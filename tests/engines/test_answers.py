"""What an answer holds, asked with the official client where it can ask it."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.serving import RunningEngine

QUESTION = "What is Cellule?"


def test_the_official_client_gets_an_answer_with_exact_usage(demo_engine: RunningEngine) -> None:
    answer = demo_engine.client().chat.completions.create(
        model="cellule-demo", messages=[{"role": "user", "content": QUESTION}], temperature=0, logprobs=True
    )
    choice = answer.choices[0]
    assert choice.message.content and choice.finish_reason == "stop"
    assert answer.usage and choice.logprobs and choice.logprobs.content
    assert answer.usage.completion_tokens == len(choice.logprobs.content)
    assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_and_whole_answers_are_equal_and_usage_comes_last(demo_engine: RunningEngine) -> None:
    client = demo_engine.client()
    whole = client.chat.completions.create(
        model="cellule-demo", messages=[{"role": "user", "content": QUESTION}], temperature=0
    )
    chunks = list(
        client.chat.completions.create(
            model="cellule-demo",
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-3:-1]] == [None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage and whole.usage
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_max_tokens_is_exact_and_says_length(tiny_engine: RunningEngine) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = tiny_engine.chat("a", ignore_eos=True, **{name: 7}).json()
        assert answer["usage"]["completion_tokens"] == 7
        assert answer["choices"][0]["finish_reason"] == "length"


def test_an_answer_ends_where_the_context_ends(tiny_engine: RunningEngine) -> None:
    answer = tiny_engine.complete([5] * 1000, max_tokens=500, ignore_eos=True, temperature=0).json()
    assert answer["usage"] == {
        "prompt_tokens": 1000,
        "completion_tokens": 24,
        "total_tokens": 1024,
        "prompt_tokens_details": answer["usage"]["prompt_tokens_details"],
    }
    assert answer["choices"][0]["finish_reason"] == "length"


def test_n_choices_differ_and_share_the_prompt(tiny_engine: RunningEngine) -> None:
    before = tiny_engine.metric("reused_tokens_total")
    prompt = list(range(100, 300))
    answer = tiny_engine.complete(prompt, n=3, max_tokens=12, ignore_eos=True, seed=1).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["text"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["prompt_tokens"] == 200
    assert answer["usage"]["completion_tokens"] == 36
    assert tiny_engine.metric("reused_tokens_total") - before >= 2 * 199


def test_several_prompts_in_one_completion(tiny_engine: RunningEngine) -> None:
    answer = tiny_engine.complete(["one", "two"], max_tokens=3, temperature=0, ignore_eos=True).json()
    alone = [
        tiny_engine.complete(one, max_tokens=3, temperature=0, ignore_eos=True) for one in ("one", "two")
    ]
    assert [choice["text"] for choice in answer["choices"]] == [reply.text for reply in alone]
    assert answer["usage"]["completion_tokens"] == 6


def test_echo_repeats_the_prompt_first_also_in_a_stream(tiny_engine: RunningEngine) -> None:
    plain = tiny_engine.complete("the hat", max_tokens=4, temperature=0).text
    assert tiny_engine.complete("the hat", max_tokens=4, temperature=0, echo=True).text == "the hat" + plain
    stream = tiny_engine.client().completions.create(
        model="test-model",
        prompt="the hat",
        max_tokens=4,
        temperature=0,
        extra_body={"echo": True},
        stream=True,
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == "the hat" + plain


def test_logprobs_are_those_of_a_distribution(tiny_engine: RunningEngine) -> None:
    reply = tiny_engine.chat(
        "a", logprobs=True, top_logprobs=20, max_tokens=4, temperature=0, ignore_eos=True
    )
    entries = reply.json()["choices"][0]["logprobs"]["content"]
    assert len(entries) == 4
    for entry in entries:
        tops = [one["logprob"] for one in entry["top_logprobs"]]
        assert len(tops) == 20 and tops == sorted(tops, reverse=True)
        assert entry["logprob"] == pytest.approx(tops[0]), "greedy takes the likeliest"
        assert 0 < sum(map(math.exp, tops)) <= 1 + 1e-9
        assert bytes(entry["bytes"]).decode("utf-8", "replace") == entry["token"]


def test_logprobs_of_completions_have_offsets_into_the_text(tiny_engine: RunningEngine) -> None:
    choice = tiny_engine.complete("a", logprobs=3, max_tokens=6, temperature=0, ignore_eos=True).json()[
        "choices"
    ][0]
    logprobs = choice["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["text_offset"]) == 6
    assert logprobs["text_offset"][0] == 0 and logprobs["text_offset"] == sorted(logprobs["text_offset"])
    assert all(len(top) == 3 for top in logprobs["top_logprobs"])


def test_logprobs_stream_with_the_text_they_belong_to(tiny_engine: RunningEngine) -> None:
    parameters: dict[str, Any] = {"logprobs": True, "max_tokens": 40, "seed": 3}
    whole = tiny_engine.chat("abc", **parameters).json()["choices"][0]["logprobs"]["content"]
    chunks = tiny_engine.client().chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": "abc"}], stream=True, **parameters
    )
    streamed = [entry for c in chunks if (lp := c.choices[0].logprobs) for entry in lp.content or []]
    assert [entry.bytes for entry in streamed] == [entry["bytes"] for entry in whole]


def token_bytes(token: str) -> bytes:
    """The bytes of a token as /v1/completions writes it."""
    return bytes.fromhex(token[6:].replace("\\x", "")) if token.startswith("bytes:") else token.encode()


def test_a_stop_string_across_tokens_cuts_and_says_stop(tiny_engine: RunningEngine) -> None:
    plain = tiny_engine.complete("a", max_tokens=40, temperature=0, ignore_eos=True, logprobs=0).json()[
        "choices"
    ][0]
    text, tokens = plain["text"], plain["logprobs"]["tokens"]
    # from the middle of one token to the middle of the next, the first time that both are whole letters
    start = next(
        i for i in range(3, 39) if all(one.isascii() and 1 < len(one) < 4 for one in tokens[i : i + 2])
    )
    before = len(b"".join(token_bytes(token) for token in tokens[:start]).decode("utf-8", "replace"))
    stop = text[before + 1 : before + len(tokens[start]) + 1]
    cut = tiny_engine.complete(
        "a", max_tokens=40, temperature=0, ignore_eos=True, stop=[stop, "never there"]
    ).json()
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["choices"][0]["text"] == text[: text.index(stop)]
    stream = tiny_engine.client().completions.create(
        model="test-model",
        prompt="a",
        max_tokens=40,
        temperature=0,
        stop=stop,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == text[: text.index(stop)]


def test_streams_of_random_bytes_hold_every_byte_of_every_token(tiny_engine: RunningEngine) -> None:
    def check(seed: int) -> None:
        stream = tiny_engine.client().chat.completions.create(
            model="test-model",
            messages=[{"role": "user", "content": "x"}],
            stream=True,
            logprobs=True,
            max_tokens=80,
            temperature=2,
            seed=seed,
        )
        text, data = "", b""
        for chunk in stream:
            choice = chunk.choices[0]
            text += choice.delta.content or ""
            for entry in (choice.logprobs.content or []) if choice.logprobs else []:
                data += bytes(entry.bytes or [])
            assert len(data.decode("utf-8", "ignore")) <= len(text), "log-probabilities run ahead of the text"
        assert data.decode("utf-8", "replace") == text

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(8)))


def test_an_emoji_split_over_tokens_arrives_whole(tiny_engine: RunningEngine) -> None:
    grammar = 'root ::= "🦆é🦆" "\\n" [a-z]{3}'  # single bytes are the only way to these characters
    stream = tiny_engine.client().completions.create(
        model="test-model", prompt="x", max_tokens=30, stream=True, extra_body={"grammar": grammar}
    )
    pieces = [chunk.choices[0].text for chunk in stream]
    assert "".join(pieces).startswith("🦆é🦆\n")
    assert not any("\ufffd" in piece for piece in pieces)
    assert "🦆" in "".join(pieces[:1]), "the first piece to show is a whole character"


def test_sixteen_at_once_get_what_each_would_get_alone(demo_engine: RunningEngine) -> None:
    questions = ["Who are you?", "What is Cellule?", "How do I invite a worker?", "Bonjour, qui es-tu ?"]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda q: demo_engine.chat(q, temperature=0), questions * 4))
    assert {reply.status for reply in replies} == {200}
    assert all(reply.text and reply.json()["choices"][0]["finish_reason"] == "stop" for reply in replies)
    for index in range(4):
        usage = [json.dumps(reply.json()["usage"]["prompt_tokens"]) for reply in replies[index::4]]
        assert len(set(usage)) == 1


def test_models_say_that_this_is_the_demo(demo_engine: RunningEngine) -> None:
    model = demo_engine.client().models.list().data[0]
    assert model.id == "cellule-demo"
    listed = demo_engine.call("GET", "/v1/models").json()["data"][0]
    assert listed["demo"] is True and "bring a real one" in listed["description"]
    health = demo_engine.health()
    assert health["demo"] is True and health["ready"] is True and len(health["sha256"]) == 64
