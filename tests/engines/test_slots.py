"""Slots: who runs when, what is freed when a client leaves, what is reused, and what happens without room."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engines.serving import RunningEngine, engine_process, events
from tests.waiting import wait_until

LONG: dict[str, Any] = {"model": "test-model", "prompt": [7, 8, 9], "max_tokens": 900, "ignore_eos": True}


@pytest.fixture(scope="module")
def narrow_engine(tiny_model: Path) -> Iterator[RunningEngine]:
    """One slot, two may wait."""
    arguments = ("--slots", "1", "--waiting", "2", "--context-tokens", "1024")
    with engine_process(tiny_model, *arguments) as engine:
        yield engine


def test_the_second_chunk_leaves_long_before_the_answer_is_complete(tiny_engine: RunningEngine) -> None:
    began = time.monotonic()
    times = [at - began for at, _ in events(tiny_engine.raw("/v1/completions", {**LONG, "stream": True}))]
    assert len(times) > 300
    assert times[1] < times[-1] / 4
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) < (times[-1] - times[0]) / 2, "chunks come one after the other, not in one lump"


def test_a_client_that_leaves_frees_its_slot(narrow_engine: RunningEngine) -> None:
    before = narrow_engine.metric("requests_total", '{outcome="cancelled"}')
    generated = narrow_engine.metric("generated_tokens_total")
    connection = narrow_engine.raw("/v1/completions", {**LONG, "stream": True})
    stream = events(connection)
    next(stream)
    stream.close()
    connection.close()
    wait_until(lambda: narrow_engine.health()["busy"] == 0, within_seconds=2, what="the slot is free")
    cancelled = narrow_engine.metric("requests_total", '{outcome="cancelled"}')
    assert cancelled == before + 1
    assert narrow_engine.metric("generated_tokens_total") - generated < 600


def test_a_client_that_leaves_without_a_stream_frees_its_slot_too(narrow_engine: RunningEngine) -> None:
    before = narrow_engine.metric("requests_total", '{outcome="cancelled"}')
    connection = narrow_engine.raw("/v1/completions", LONG)
    wait_until(lambda: narrow_engine.health()["busy"] == 1, within_seconds=2, what="it runs", every_seconds=0)
    connection.close()
    wait_until(lambda: narrow_engine.health()["busy"] == 0, within_seconds=2, what="the slot is free")
    cancelled = narrow_engine.metric("requests_total", '{outcome="cancelled"}')
    assert cancelled == before + 1, "it was ended, and did not just come to its end"


def test_more_than_may_wait_is_refused_with_a_time_to_come_back(narrow_engine: RunningEngine) -> None:
    crowd = [narrow_engine.raw("/v1/completions", {**LONG, "stream": True}) for _ in range(3)]
    try:
        wait_until(
            lambda: narrow_engine.health()["waiting"] == 2, within_seconds=2, what="two wait", every_seconds=0
        )
        reply = narrow_engine.complete("a", max_tokens=1)
        assert reply.status == 429 and reply.error["code"] == "engine_busy"
        assert int(reply.headers["retry-after"]) >= 1
    finally:
        for connection in crowd:
            connection.close()
    wait_until(lambda: narrow_engine.health()["waiting"] == 0, within_seconds=2, what="nobody waits")
    assert narrow_engine.complete("a", max_tokens=1).status == 200


def test_a_short_request_ends_while_a_long_one_runs(tiny_engine: RunningEngine) -> None:
    ended: dict[str, float] = {}

    def ask(name: str, **parameters: Any) -> None:
        assert tiny_engine.complete([4, 5], ignore_eos=True, **parameters).status == 200
        ended[name] = time.monotonic()

    long = threading.Thread(target=ask, args=("long",), kwargs={"max_tokens": 1000})
    long.start()
    wait_until(lambda: tiny_engine.health()["busy"] >= 1, within_seconds=2, what="it runs", every_seconds=0)
    ask("short", max_tokens=3)
    long.join()
    assert ended["short"] < ended["long"]


def test_a_short_prompt_does_not_wait_for_a_long_one(tiny_engine: RunningEngine) -> None:
    with ThreadPoolExecutor(2) as pool:
        prompts = [list(range(20, 1020)), [9, 9, 9]]
        long, short = (
            pool.submit(lambda p: (tiny_engine.complete(p, max_tokens=2), time.monotonic()), prompt)
            for prompt in prompts
        )
        assert short.result()[1] <= long.result()[1] + 0.05


def test_a_conversation_computes_only_what_is_new_and_answers_the_same(demo_engine: RunningEngine) -> None:
    def turns(count: int) -> list[dict[str, str]]:
        question = {"role": "user", "content": "What is Cellule?"}
        answer = {"role": "assistant", "content": "A box."}
        return [question, *[answer, question] * count]

    def ask(messages: list[dict[str, str]]) -> dict[str, Any]:
        body = {"model": "cellule-demo", "messages": messages, "temperature": 0, "max_tokens": 20}
        answer: dict[str, Any] = demo_engine.call("POST", "/v1/chat/completions", body).json()
        return answer

    cold = ask(turns(2))
    before = demo_engine.metric("reused_tokens_total")
    warm = ask(turns(2))
    prompt = warm["usage"]["prompt_tokens"]
    assert warm["usage"]["prompt_tokens_details"]["cached_tokens"] == prompt - 1
    assert demo_engine.metric("reused_tokens_total") - before == prompt - 1
    assert warm["choices"][0]["message"] == cold["choices"][0]["message"]
    longer = ask(turns(3))["usage"]
    assert longer["prompt_tokens_details"]["cached_tokens"] >= prompt - 5


def test_prompts_with_a_common_beginning_compute_it_once(tiny_engine: RunningEngine) -> None:
    beginning = list(range(500, 900))
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda end: tiny_engine.complete([*beginning, end], max_tokens=2), range(4)))
    cached = sorted(reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"] for reply in replies)
    assert cached[1:] == [400, 400, 400]


def test_without_room_in_the_cache_nothing_is_lost(tiny_model: Path) -> None:
    arguments = ("--slots", "4", "--context-tokens", "512", "--kv-tokens", "768")
    with engine_process(tiny_model, *arguments) as engine, ThreadPoolExecutor(4) as pool:

        def ask(first: int) -> dict[str, Any]:
            prompt = [first + step for step in range(100)]
            reply = engine.complete(prompt, max_tokens=300, ignore_eos=True, temperature=0)
            assert reply.status == 200, reply.body
            answer: dict[str, Any] = reply.json()
            return answer

        answers = list(pool.map(ask, (10, 200, 400, 600, 800, 300)))
        assert [answer["usage"]["completion_tokens"] for answer in answers] == [300] * 6
        assert all(answer["usage"]["prompt_tokens"] == 100 for answer in answers)
        assert engine.metric("preempted_total") > 0, "four times 400 tokens can't be in 768 at once"


def test_step_times_are_measured(tiny_engine: RunningEngine) -> None:
    tiny_engine.complete("a", max_tokens=5, ignore_eos=True)
    steps = tiny_engine.metric("step_decode_seconds_count")
    tiny_engine.complete("a", max_tokens=5, ignore_eos=True)
    assert tiny_engine.metric("step_decode_seconds_count") - steps == pytest.approx(5, abs=1)
    assert tiny_engine.metric("busy_slots") == 0
    assert tiny_engine.metric("kv_tokens") > 0
