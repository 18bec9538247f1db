"""Every sampling parameter acts. The tiny random model is near uniform, so that chance shows it at once."""

from collections import Counter
from typing import Any

import pytest

from appliance.engines.sampling_plan import SamplingDefaults, advised_sampling
from tests.engines.serving import RunningEngine


def drawn(engine: RunningEngine, seed: int, **parameters: Any) -> list[str]:
    """The tokens of a draw of 40, as the API writes them."""
    body = {"logprobs": 0, "max_tokens": 40, "ignore_eos": True, "seed": seed, **parameters}
    reply = engine.complete([300, 301], **body)
    assert reply.status == 200, reply.body
    tokens: list[str] = reply.json()["choices"][0]["logprobs"]["tokens"]
    return tokens


def greedy(engine: RunningEngine, **parameters: Any) -> list[str]:
    return drawn(engine, 0, temperature=0, **parameters)


def test_a_seed_repeats_and_another_does_not(tiny_engine: RunningEngine) -> None:
    seeds = [-1, 0, 1, 2**62, *range(10, 26)]
    first, second = ([tuple(drawn(tiny_engine, seed, max_tokens=10)) for seed in seeds] for _ in range(2))
    assert len(set(first)) == len(seeds)
    # the second time the prompt is found computed, so that the last digits of the logits differ
    assert sum(one == two for one, two in zip(first, second, strict=True)) >= len(seeds) - 2


def test_without_a_seed_two_answers_differ(tiny_engine: RunningEngine) -> None:
    one, two = (tiny_engine.complete("a", max_tokens=30, ignore_eos=True).text for _ in range(2))
    assert one != two


def test_temperature_zero_is_greedy_and_top_k_one_too(tiny_engine: RunningEngine) -> None:
    assert greedy(tiny_engine) == drawn(tiny_engine, 9, top_k=1, temperature=2)
    assert greedy(tiny_engine) == drawn(tiny_engine, 9, min_p=1, temperature=2)
    assert greedy(tiny_engine) == drawn(tiny_engine, 9, top_p=1e-9, temperature=2)


@pytest.mark.parametrize("name,value", [("top_k", 2), ("top_p", 0.01), ("min_p", 0.9)])
def test_cutting_parameters_leave_fewer_tokens(tiny_engine: RunningEngine, name: str, value: float) -> None:
    free = {drawn(tiny_engine, seed, temperature=2)[0] for seed in range(12)}
    cut = {drawn(tiny_engine, seed, temperature=2, **{name: value})[0] for seed in range(12)}
    assert len(cut) < len(free)


def test_low_temperature_repeats_the_likeliest(tiny_engine: RunningEngine) -> None:
    first = greedy(tiny_engine)[0]
    cold = [drawn(tiny_engine, seed, temperature=0.01)[0] for seed in range(8)]
    assert cold.count(first) >= 7


def test_a_bias_of_100_forces_and_of_minus_100_bans(tiny_engine: RunningEngine) -> None:
    forced = set(drawn(tiny_engine, 1, logit_bias={"400": 100}))
    banned = drawn(tiny_engine, 1, logit_bias={"400": 100, "401": 100.0})
    assert len(forced) == 1 and set(banned) > forced
    assert not forced & set(drawn(tiny_engine, 1, logit_bias={"400": -100}))


def test_frequency_penalty_spreads_and_its_negative_gathers(tiny_engine: RunningEngine) -> None:
    two = {"400": 90, "401": 90}
    free = Counter(drawn(tiny_engine, 2, logit_bias={"400": 100}))
    assert max(free.values()) == 40
    spread = Counter(drawn(tiny_engine, 2, temperature=0, logit_bias=two, frequency_penalty=2))
    assert min(spread.values()) >= 18 and len(spread) == 2
    gathered = Counter(drawn(tiny_engine, 2, temperature=0, logit_bias=two, frequency_penalty=-2))
    assert max(gathered.values()) >= 39


def test_presence_penalty_counts_once(tiny_engine: RunningEngine) -> None:
    assert len(set(greedy(tiny_engine, presence_penalty=2))) >= len(set(greedy(tiny_engine)))
    two = {"400": 90, "401": 90}
    drawn_tokens = greedy(tiny_engine, logit_bias=two, presence_penalty=2)
    assert len(set(drawn_tokens[:2])) == 2, "the second token escapes the penalty of the first"
    assert len(set(drawn_tokens)) == 2


def test_choices_of_one_request_repeat_with_its_seed(tiny_engine: RunningEngine) -> None:
    def texts() -> list[str]:
        choices = tiny_engine.complete("a", n=3, seed=4, max_tokens=10).json()["choices"]
        return [choice["text"] for choice in choices]

    assert texts() == texts()


def test_advice_of_a_file_that_no_request_could_ask_is_passed_over() -> None:
    sound = SamplingDefaults(temperature=0.6, top_p=0.95, top_k=20, min_p=0.1)
    told = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1}
    assert advised_sampling(told) == advised_sampling({**told, "top_k": 20.0}) == sound
    for lie in (-1, 10**9, float("nan"), float("inf"), "warm", None):
        assert advised_sampling(dict.fromkeys(told, lie)) == SamplingDefaults()
    assert advised_sampling({"top_p": 0}) == SamplingDefaults()
