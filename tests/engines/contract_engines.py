"""The engines that test_contract.py runs against, and what each says that it can't do.

Adding one is adding a line to ENGINES: how its server process is started with the tiny model, and the names
of the `probes` (contract_probes.py) that it refuses. What is not in `cannot` is expected to work.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.llama_server import llama_server
from tests.bench.random_model import TINY, Shape, random_model
from tests.engines.serving import RunningEngine, engine_process

Start = Callable[[Path], AbstractContextManager[RunningEngine]]
"""Starts the engine in an empty folder of its own; leaving the context stops all that was started."""


@dataclass(frozen=True)
class ContractEngine:
    """One engine as the contract sees it. Whatever the machine, it serves the same tiny random model."""

    name: str
    start: Start
    engine: str
    """As its /health/ready calls itself."""
    slots: int
    waiting: int
    """How many requests may wait; one more is refused."""
    prompt_tokens: int = 0
    """The longest prompt that it takes; 0: as the context allows."""
    cannot: frozenset[str] = frozenset()
    """Names of probes that are refused with the name of their parameter."""


CONTEXT_TOKENS = 2048
MODEL = Shape("Random contract", 1024, 64, 128, 2, 2, 2, head_width=32, context_tokens=4096)
"""Random weights: under sampling every token is likely, so bytes, stops and grammars meet every case."""


def _started(folder: Path, *arguments: str) -> AbstractContextManager[RunningEngine]:
    return engine_process(
        random_model(folder, MODEL),
        *("--slots", "2", "--waiting", "8", "--context-tokens", str(CONTEXT_TOKENS), "--threads", "1"),
        *arguments,
    )


@contextmanager
def _adopted(folder: Path) -> Iterator[RunningEngine]:
    """A real llama-server with the tiny model, and our engine before it."""
    model = random_model(folder, TINY)
    arguments = ("-np", "2", "-c", str(2 * CONTEXT_TOKENS), "-t", "1", "--alias", "tiny")
    with (
        llama_server(model, *arguments) as server,
        engine_process(
            None,
            *("--engine", "adopted", "--slots", "2", "--waiting", "8"),
            *("--setting", f"url={server.url}", "--setting", "model=tiny"),
            *("--setting", "judge_text=false"),  # random weights say nothing sensible
        ) as engine,
    ):
        yield engine


OPENVINO_CANNOT = frozenset({"logit_bias", "grammar", "top_logprobs", "completion logprobs"})
NPU_ON_CPU = {
    "NPU_USE_NPUW": "YES",
    "NPUW_DEVICES": "CPU",
    "NPUW_ONLINE_PIPELINE": "NONE",
    "NPUW_LLM_SHARED_HEAD": "NO",  # it can't be cut off where it shares its weights with the first layer
}
"""The NPU's way of computing (fixed shapes, one at a time), on the processor: it can be tested anywhere."""


def setting_arguments(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("--setting", f"{name}={value}")]


ENGINES = [
    ContractEngine("llama.cpp", _started, engine="llama.cpp", slots=2, waiting=8),
    ContractEngine(
        "llama.cpp with a prompt limit",
        lambda folder: _started(folder, "--prompt-tokens", "512"),
        engine="llama.cpp",
        slots=2,
        waiting=8,
        prompt_tokens=512,
    ),
    ContractEngine(
        "adopted llama-server",
        _adopted,
        engine="adopted",
        slots=2,
        waiting=8,
        # its chat template says how to call a tool in a way that llama-server does not understand
        cannot=frozenset({"echo", "completion logprobs", "tools", "tool_choice", "tools beside json"}),
    ),
    ContractEngine(
        "OpenVINO on the CPU",
        lambda folder: _started(folder, "--engine", "openvino"),
        engine="openvino",
        slots=2,
        waiting=8,
        cannot=OPENVINO_CANNOT,
    ),
    ContractEngine(
        "OpenVINO on an NPU, through NPUW on the CPU",
        lambda folder: _started(
            folder,
            *("--engine", "openvino", "--device", "NPU", "--prompt-tokens", "512"),
            *setting_arguments(NPU_ON_CPU),
        ),
        engine="openvino",
        slots=1,
        waiting=8,
        prompt_tokens=512,
        cannot=frozenset(
            {"logit_bias", "grammar", "logprobs", "top_logprobs", "completion logprobs", "one token"}
        ),
    ),
]
