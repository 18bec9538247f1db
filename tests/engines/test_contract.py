"""One body of tests for every engine: same API, same refusals, whatever computes.

Each engine is a real server process with the tiny random model. What one can't do is in its table
(contract_engines.py), and then the refusal by name is the test.
"""

import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.engines.contract_engines import CONTEXT_TOKENS, ENGINES, ContractEngine
from tests.engines.contract_probes import DRAWN, GREEDY, PROBES, TOOLS
from tests.engines.contract_subject import Subject, long_request, occupied
from tests.engines.serving import Reply, RunningEngine, events
from tests.waiting import wait_until

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    declared: ContractEngine = request.param
    with declared.start(tmp_path_factory.mktemp("contract")) as running:
        yield Subject(declared, running)


@pytest.fixture
def engine(subject: Subject) -> RunningEngine:
    return subject.running


# --- answers -----------------------------------------------------------------------------------------


def test_chat_and_completion_answer_the_official_client(engine: RunningEngine) -> None:
    client = engine.client()
    chat = client.chat.completions.create(model=engine.model, messages=HELLO, max_tokens=8, temperature=0)  # type: ignore[arg-type]
    assert chat.object == "chat.completion" and chat.model == engine.model and chat.id
    assert chat.choices[0].message.role == "assistant" and chat.choices[0].index == 0
    plain = client.completions.create(model=engine.model, prompt="hello", max_tokens=8, temperature=0)
    assert plain.object == "text_completion" and isinstance(plain.choices[0].text, str)
    for usage in (chat.usage, plain.usage):
        assert usage and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert usage.completion_tokens <= 8


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_streamed_and_whole_answers_are_equal_and_so_is_their_usage(engine: RunningEngine, path: str) -> None:
    subject: dict[str, Any] = {"messages": HELLO} if "chat" in path else {"prompt": "hello"}
    body = {"model": engine.model, "max_tokens": 40, "temperature": 0, **subject}
    whole = engine.call("POST", path, body).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = [event for _, event in events(engine.raw(path, {**body, **options}))]
    assert chunks[-1]["choices"] == []
    counted = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [chunks[-1]["usage"][name] for name in counted] == [whole["usage"][name] for name in counted]
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    text = "".join(
        (choice["delta"].get("content") or "") if "delta" in choice else choice["text"] for choice in choices
    )
    assert text == Reply(200, {}, json.dumps(whole).encode()).text
    finishes = [choice["finish_reason"] for choice in choices]
    assert finishes[-1] == whole["choices"][0]["finish_reason"] and not any(finishes[:-1])
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_the_second_chunk_leaves_long_before_the_answer_is_complete(engine: RunningEngine) -> None:
    body = long_request(engine, max_tokens=200, stream=True)
    times = [at for at, _ in events(engine.raw("/v1/completions", body))]
    assert len(times) > 50
    assert times[1] - times[0] < (times[-1] - times[0]) / 4, "it was held back and came in one lump"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_is_exact_and_says_length(engine: RunningEngine, name: str) -> None:
    answer = engine.chat("a", ignore_eos=True, temperature=0, **{name: 7}).json()
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_prompt_of_token_ids_is_counted_token_by_token(subject: Subject) -> None:
    for length in (2, 7, 100):
        reply = subject.running.complete([5] * length, max_tokens=2, temperature=0, ignore_eos=True)
        if subject.declared.cannot & {"token ids"}:
            assert reply.status == 400 and reply.error["param"] == "prompt"
        else:
            assert reply.json()["usage"]["prompt_tokens"] == length


def test_several_prompts_in_one_completion(engine: RunningEngine) -> None:
    parameters = {"max_tokens": 3, "temperature": 0, "ignore_eos": True}
    answer = engine.complete(["one", "two"], **parameters).json()
    alone = [engine.complete(prompt, **parameters) for prompt in ("one", "two")]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert [choice["text"] for choice in answer["choices"]] == [reply.text for reply in alone]
    assert answer["usage"]["completion_tokens"] == 6


def test_a_stop_string_cuts_the_answer_and_says_stop(engine: RunningEngine) -> None:
    whole = engine.complete("abc", max_tokens=40, **GREEDY).text
    stop = whole[9:12]
    cut = engine.complete("abc", max_tokens=40, stop=[stop, "never there"], **GREEDY).json()
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["choices"][0]["text"] == whole[: whole.index(stop)]
    assert cut["usage"]["completion_tokens"] < 40
    body = long_request(engine, prompt="abc", max_tokens=40, stop=stop, stream=True)
    streamed = "".join(
        event["choices"][0]["text"] for _, event in events(engine.raw("/v1/completions", body))
    )
    assert streamed == whole[: whole.index(stop)]


def test_streams_hold_every_character_whole(engine: RunningEngine) -> None:
    """A random model says bytes of any kind; what is shown is text that the whole answer holds too."""
    parameters = {"max_tokens": 80, "seed": 4, "temperature": 2.0, "ignore_eos": True}
    body = {"model": engine.model, "prompt": "xyz", "stream": True, **parameters}
    streamed = "".join(
        event["choices"][0]["text"] for _, event in events(engine.raw("/v1/completions", body))
    )
    assert streamed == engine.complete("xyz", **parameters).text


def test_greedy_answers_are_the_same_every_time(engine: RunningEngine) -> None:
    answers = {engine.chat("tell", max_tokens=30, **GREEDY).text for _ in range(3)}
    assert len(answers) == 1


@pytest.mark.parametrize(
    "least", [{"temperature": 1e-300}, {"temperature": 1e-42}, {"top_p": 1e-300, "temperature": 1}]
)
def test_what_is_less_than_an_engine_can_compute_with_is_the_likeliest(
    subject: Subject, least: dict[str, float]
) -> None:
    engine = subject.running
    reply = engine.chat("x", max_tokens=5, **least)
    assert reply.status == 200
    if subject.declared.engine != "adopted":  # that server has its own floats
        assert reply.text == engine.chat("x", max_tokens=5, temperature=0).text
    assert engine.health()["ready"]


def test_a_seed_decides_the_draw_and_no_seed_does_not(engine: RunningEngine) -> None:
    drawn = {**DRAWN, "max_tokens": 24}
    same = {engine.complete("abc", **drawn).text for _ in range(2)}
    others = {engine.complete("abc", **{**drawn, "seed": seed}).text for seed in (12, 13)}
    free = {engine.complete("abc", **{**drawn, "seed": None}).text for _ in range(3)}
    assert len(same) == 1 and len(same | others) == 3
    assert len(free) > 1


# --- each parameter, done or refused by its name -----------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_a_parameter_is_honoured_or_refused_by_name(subject: Subject, name: str) -> None:
    probe = PROBES[name]
    reply = probe.ask(subject.running)
    if name in subject.declared.cannot:
        assert reply.status == 400, reply.body
        assert reply.error["param"] == probe.param and reply.error["code"] and reply.error["message"]
    else:
        assert reply.status == 200, reply.body
        assert probe.shows(subject.running, reply), reply.body


def test_what_an_engine_can_not_do_is_in_the_list_of_probes() -> None:
    for declared in ENGINES:
        assert declared.cannot <= {*PROBES, "token ids", "one token"}, declared.name


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 16}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"grammar": "no grammar"}, "grammar"),
        ({"grammar": "root ::= root"}, "grammar"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "a"}},
                }
            },
            "response_format",
        ),
        ({"response_format": {"type": "json_object"}, "stop": "}"}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice",
        ),
        ({"functions": []}, "functions"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_nobody_can_honour_is_refused_by_name(
    engine: RunningEngine, parameters: dict[str, Any], param: str
) -> None:
    body = {"model": engine.model, "messages": HELLO, **parameters}
    reply = engine.call("POST", "/v1/chat/completions", body)
    assert reply.status == 400, reply.body
    assert reply.error["param"] == param
    assert reply.error["type"] == "invalid_request_error" and reply.error["message"] and reply.error["code"]


@pytest.mark.parametrize("prompt", ["", [], [99999999], [1, -2], [[]]])
def test_a_prompt_that_is_none(engine: RunningEngine, prompt: Any) -> None:
    reply = engine.complete(prompt, max_tokens=1)
    assert reply.status == 400 and reply.error["param"] == "prompt"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"null", b'{"model":NaN}', b"[" * 10000])
def test_a_body_that_is_no_request(engine: RunningEngine, body: bytes) -> None:
    reply = engine.call("POST", "/v1/chat/completions", body)
    assert reply.status == 400 and reply.error["message"]


def test_an_unknown_model_is_not_found(engine: RunningEngine) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        engine.client().completions.create(model="gpt-7", prompt="a")
    assert refused.value.code == "model_not_found"


def test_a_prompt_over_the_context_is_refused_before_it_costs_anything(subject: Subject) -> None:
    engine = subject.running
    generated = engine.metric("generated_tokens_total")
    reply = engine.complete("hat " * CONTEXT_TOKENS, max_tokens=1)
    assert reply.status == 400 and reply.error["code"] == "context_length_exceeded", reply.body
    assert reply.error["param"] == "prompt"
    reply = engine.chat("hat " * CONTEXT_TOKENS)
    assert reply.error["code"] == "context_length_exceeded" and reply.error["param"] == "messages"
    assert engine.metric("generated_tokens_total") == generated


def test_a_prompt_that_only_this_engine_can_not_take_has_a_code_of_its_own(subject: Subject) -> None:
    limit, engine = subject.declared.prompt_tokens, subject.running
    assert engine.health()["prompt_tokens"] == limit
    if limit:
        reply = engine.complete([5] * (limit + 1), max_tokens=1)
        assert reply.status == 400 and reply.error["code"] == "prompt_too_long_here"
        assert str(limit) in reply.error["message"]
        assert engine.complete([5] * limit, max_tokens=1).status == 200


def test_a_prompt_of_one_token_continues_nobody_elses_answer(subject: Subject) -> None:
    engine, answers = subject.running, set()
    for other in ("first secret", "second one"):
        engine.complete(other, max_tokens=20, **GREEDY)
        reply = engine.complete([67], max_tokens=8, **GREEDY)
        if "one token" in subject.declared.cannot:
            assert reply.status == 400 and reply.error["code"] == "prompt_too_short_here"
        else:
            answers.add(reply.text)
    assert len(answers) <= 1, "it depends on what was asked before"


# --- slots -------------------------------------------------------------------------------------------


def test_many_at_once_are_all_answered_and_each_with_its_own(subject: Subject) -> None:
    engine = subject.running
    together = min(subject.declared.slots + subject.declared.waiting, 8)
    prompts = [f"number {'abcdefgh'[place]} " * 3 for place in range(together)]
    parameters = {"max_tokens": 12, "ignore_eos": True, "temperature": 0}
    with ThreadPoolExecutor(together) as pool:
        replies = list(pool.map(lambda prompt: engine.complete(prompt, **parameters), prompts))
    assert [reply.status for reply in replies] == [200] * together
    assert all(reply.json()["usage"]["completion_tokens"] == 12 for reply in replies)
    alone = [engine.complete(prompt, **parameters).text for prompt in prompts]
    agreeing = sum(reply.text[:1] == text[:1] for reply, text in zip(replies, alone, strict=True))
    assert agreeing >= together - 1, "answers went to the wrong callers"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(subject: Subject, stream: bool) -> None:
    engine = subject.running
    before = engine.metric("requests_total", '{outcome="cancelled"}')
    connection = engine.raw("/v1/completions", long_request(engine, stream=stream))
    wait_until(lambda: engine.health()["busy"] == 1, within_seconds=5, what="it runs", every_seconds=0)
    connection.close()
    wait_until(
        lambda: engine.metric("requests_total", '{outcome="cancelled"}') == before + 1,
        within_seconds=5,
        what="it was ended, and did not just come to its end",
    )
    wait_until(lambda: engine.health()["busy"] == 0, within_seconds=5, what="the slot is free")
    assert engine.complete("a b", max_tokens=1).status == 200


def test_who_waits_and_leaves_is_forgotten(subject: Subject) -> None:
    engine = subject.running
    with occupied(subject, waiting=1):
        waiting = engine.raw("/v1/completions", long_request(engine, stream=True))
        wait_until(lambda: engine.health()["waiting"] == 2, within_seconds=5, what="it waits")
        waiting.close()
        wait_until(lambda: engine.health()["waiting"] == 1, within_seconds=5, what="it is forgotten")


def test_more_than_may_wait_are_refused_with_a_time_to_come_back(subject: Subject) -> None:
    engine = subject.running
    with occupied(subject, waiting=subject.declared.waiting):
        reply = engine.complete("a b", max_tokens=1)
        assert reply.status == 429 and reply.error["code"] == "engine_busy"
        assert int(reply.headers["retry-after"]) >= 1
    assert engine.complete("a b", max_tokens=1).status == 200


def test_a_waiting_request_gets_its_turn(subject: Subject) -> None:
    engine, slots = subject.running, subject.declared.slots
    replies: list[Reply] = []
    body = long_request(engine, max_tokens=60)
    threads = [
        threading.Thread(target=lambda: replies.append(engine.call("POST", "/v1/completions", body)))
        for _ in range(slots + 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * (slots + 2)
    assert all(reply.json()["usage"]["completion_tokens"] == 60 for reply in replies)


# --- health ------------------------------------------------------------------------------------------


def test_health_says_what_the_pool_needs(subject: Subject) -> None:
    engine, declared = subject.running, subject.declared
    engine.complete("a b", max_tokens=8, ignore_eos=True)
    health = engine.health()
    assert health["ready"] is True and health["model"] == engine.model
    assert health["slots"] == declared.slots and health["busy"] == 0 and health["waiting"] == 0
    assert health["context_tokens"] == CONTEXT_TOKENS
    assert health["kind"] == "text" and health["engine"] == declared.engine
    assert health["prompt_tokens"] == declared.prompt_tokens
    assert health["tokens_per_second"] > 0 and math.isfinite(health["tokens_per_second"])
    assert health["demo"] is False
    assert engine.call("GET", "/health/live").json() == {"live": True}
    [listed] = engine.call("GET", "/v1/models").json()["data"]
    assert listed["id"] == engine.model and listed["object"] == "model"


def test_metrics_count_requests_and_tokens(engine: RunningEngine) -> None:
    names = ("prompt_tokens_total", "generated_tokens_total")
    before = [engine.metric(name) for name in names]
    answered = engine.metric("requests_total", '{outcome="answered"}')
    usage = engine.complete("a b c", max_tokens=5, ignore_eos=True).json()["usage"]
    counted = [engine.metric(name) - first for name, first in zip(names, before, strict=True)]
    assert counted == [usage["prompt_tokens"], usage["completion_tokens"]]
    assert engine.metric("requests_total", '{outcome="answered"}') == answered + 1
    assert engine.metric("busy_slots") == 0 and engine.metric("waiting") == 0


def test_while_it_starts_it_says_so_and_when(subject: Subject) -> None:
    """Asked from the first moment on: 503 with a time to come back, then an answer, nothing else."""
    arguments = subject.running.process.args
    assert isinstance(arguments, list)
    port = subject.running.port + 1
    command = [str(each) for each in arguments]
    command[command.index("--listen") + 1] = f"127.0.0.1:{port}"
    process = subprocess.Popen(command, cwd=sys.path[0] or None)
    again = RunningEngine(process, port, subject.running.model)
    refused: list[Reply] = []

    def answers() -> bool:
        reply = again.complete("a b", max_tokens=1)
        if reply.status != 200:
            refused.append(reply)
        return reply.status == 200

    try:
        wait_until(answers, within_seconds=30, what="it answers", every_seconds=0.001)
    finally:
        process.kill()
        process.wait(10)
    assert refused, "it never said that it was starting"
    for reply in refused:
        assert reply.status == 503 and reply.error["code"] == "engine_starting"
        assert int(reply.headers["retry-after"]) >= 1
