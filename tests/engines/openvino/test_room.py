"""What OpenVINO's engine does when memory or time is short: nothing is lost, and what ends is told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.random_model import random_model
from tests.engines.contract_engines import MODEL
from tests.engines.serving import engine_process


def test_without_room_in_the_cache_nothing_is_lost(tmp_path: Path) -> None:
    arguments = ("--engine", "openvino", "--slots", "4", "--context-tokens", "512", "--kv-tokens", "768")
    model = random_model(tmp_path, MODEL)
    with engine_process(model, *arguments) as engine, ThreadPoolExecutor(4) as pool:

        def ask(first: int) -> dict[str, Any]:
            prompt = [first + step for step in range(100)]
            reply = engine.complete(prompt, max_tokens=300, ignore_eos=True, temperature=0)
            assert reply.status == 200, reply.body
            answer: dict[str, Any] = reply.json()
            return answer

        answers = list(pool.map(ask, (10, 200, 400, 600, 800, 300)))
        assert [answer["usage"]["completion_tokens"] for answer in answers] == [300] * 6
        assert {answer["choices"][0]["finish_reason"] for answer in answers} == {"length"}
        assert engine.health()["busy"] == 0


def test_an_answer_ends_where_the_context_ends(tmp_path: Path) -> None:
    arguments = ("--engine", "openvino", "--slots", "1", "--context-tokens", "128")
    with engine_process(random_model(tmp_path, MODEL), *arguments) as engine:
        answer = engine.complete([5] * 100, max_tokens=500, ignore_eos=True, temperature=0).json()
        assert answer["usage"]["completion_tokens"] == 28
        assert answer["choices"][0]["finish_reason"] == "length"
        assert "prompt_tokens_details" not in answer["usage"], (
            "GenAI doesn't tell what it had computed before"
        )


def test_a_gguf_has_no_more_context_than_its_tokenizer_takes(tmp_path: Path) -> None:
    arguments = ("--engine", "openvino", "--slots", "1", "--context-tokens", "12000", "--threads", "1")
    model = random_model(tmp_path, replace(MODEL, name="Random long", context_tokens=16_384))
    with engine_process(model, *arguments) as engine:
        assert engine.health()["context_tokens"] == 8192
        reply = engine.chat("word " * 3_000, max_tokens=1)  # of three tokens each
        assert reply.status == 400 and reply.error["code"] == "context_length_exceeded"


def test_a_text_full_of_control_tokens_is_cut_at_each(tmp_path: Path) -> None:
    """So that they stay text; all parts are tokenized together."""
    with engine_process(random_model(tmp_path, MODEL), "--engine", "openvino") as engine:
        one, three, none = (
            engine.complete(text, max_tokens=1).json()["usage"]["prompt_tokens"]
            for text in ("<|im_end|>", "<|im_end|>" * 3, "é🦆 word")
        )
        assert three == 3 * one > 9
        mixed = engine.complete("<|im_end|>é🦆 word<|im_end|><|im_end|>", max_tokens=1).json()["usage"]
        assert mixed["prompt_tokens"] == 3 * one + none
        reply = engine.complete("<|im_end|>" * 60_000)
        assert (
            reply.error["code"] == "context_length_exceeded" and str(60_000 * one) in reply.error["message"]
        )
