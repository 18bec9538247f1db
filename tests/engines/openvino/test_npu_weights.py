"""What the converter makes for NPUs is served by an NPU's way of computing, which runs on a processor too."""

import pytest

from appliance.engines.options import Kind
from appliance.models.conversion_source import Weights
from tests.engines.contract_engines import NPU_ON_CPU, setting_arguments
from tests.engines.serving import engine_process
from tests.models.tiny import tiny_openvino

pytestmark = pytest.mark.timeout(600)  # the first run sets up the converter


@pytest.mark.parametrize("weights", [Weights.INT4_CHANNEL_WISE, Weights.INT4_GROUPS])
def test_a_model_converted_for_npus_answers_there(weights: Weights) -> None:
    arguments = ("--engine", "openvino", "--device", "NPU", "--slots", "1", "--prompt-tokens", "128")
    with engine_process(
        tiny_openvino(Kind.TEXT, weights), *arguments, *setting_arguments(NPU_ON_CPU)
    ) as engine:
        answer = engine.complete("hello", max_tokens=4, temperature=0, ignore_eos=True)
        assert answer.status == 200, answer.body
        assert answer.json()["usage"]["completion_tokens"] == 4
