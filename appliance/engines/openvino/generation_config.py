"""What a sequence must do, in GenAI's words.

A temperature of 0 is greedy. Without a seed the draw is unpredictable; GenAI's own default would draw the
same every time.
"""

import secrets
from typing import Any

from appliance.engines.generation import GenerationRequest
from appliance.engines.openvino.library import genai
from appliance.engines.sampling_plan import SamplingPlan

_LARGEST_MIN_P = 1 - 2**-24
"""GenAI wants less than 1, at which only the likeliest is left."""
_SEED_BITS = 64


def generation_config(request: GenerationRequest, end_tokens: frozenset[int], stop_token: int | None) -> Any:  # noqa: ANN401
    config = genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = request.max_tokens
    config.ignore_eos = request.ignore_end
    if stop_token is not None:
        config.eos_token_id = stop_token
    config.stop_token_ids = set() if request.ignore_end else set(end_tokens)
    plan = request.plan
    config.presence_penalty = plan.presence_penalty
    config.frequency_penalty = plan.frequency_penalty
    if request.top_logprobs is not None:
        config.logprobs = 1
    if plan.grammar is not None:
        config.structured_output_config = genai.StructuredOutputConfig(grammar=plan.grammar)
    if plan.temperature > 0:
        _draw(config, plan)
    return config


def _draw(config: Any, plan: SamplingPlan) -> None:  # noqa: ANN401
    config.do_sample = True
    config.temperature = plan.temperature
    config.top_p = plan.top_p
    if plan.top_k:
        config.top_k = plan.top_k
    config.min_p = min(plan.min_p, _LARGEST_MIN_P)
    config.rng_seed = secrets.randbits(_SEED_BITS) if plan.seed is None else plan.seed
