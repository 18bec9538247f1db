"""What the server and the process that computes say to each other. Light: that process imports little else.

Start → Ready, or Failed and the end → any number of Add and Stop ↔ a Stepped for each step, Failed at the end
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.engines.generation import GenerationRequest


@dataclass(frozen=True)
class Start:
    """What to load, and on what. `scheduler`: attributes of genai.SchedulerConfig."""

    path: Path
    device: str
    properties: Mapping[str, str | int | float | bool]
    scheduler: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class Failed:
    """It can't be loaded, or a step went wrong: nothing more comes."""

    why: str


@dataclass(frozen=True)
class Add:
    """A sequence to compute, and the tokens at which it ends; its number is the server's."""

    number: int
    request: GenerationRequest
    end_tokens: frozenset[int]
    stop_token: int | None


@dataclass(frozen=True)
class Stop:
    """Nobody wants that sequence any more; no effect where it has ended."""

    number: int


@dataclass(frozen=True)
class Given:
    """What one step gave to a sequence. `logprobs` has one for each token, or none."""

    number: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    is_over: bool


@dataclass(frozen=True)
class Stepped:
    """One step; `cache_usage` is a share, 0 to 1."""

    given: tuple[Given, ...]
    seconds: float
    cache_usage: float
