"""What placement is told and what it answers: nodes, models, measures, demand, wishes; the plan.

Frozen, and independent of the database: the same rules plan a fleet that is there and one that is only a list
of machines. Sizes are bytes, speeds tokens a second, times epoch seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.engines.options import Kind
from appliance.hardware.profile import EngineName, Setting
from appliance.hardware.profile import Kind as Accelerator
from appliance.models.facts import ModelFacts

READABLE_TOKENS_PER_SECOND = 7.0
"""What a person reads with ease: about 300 words a minute, a word being 1.3 to 1.5 tokens."""
LEAST_CONTEXT_TOKENS = 4096
TYPICAL_TOKENS = 1000
"""In the cache of one answer; reading them is part of each step."""
CACHE_BYTES_A_VALUE = 2


@dataclass(frozen=True)
class HardwareFigures:
    """What is published of an accelerator, for predicting what nobody measured yet."""

    bytes_per_second: float
    """Of its memory."""
    operations_per_second: float = 0.0
    """Multiplications and additions with the weights of a model; 0: not known."""
    source: str = ""


@dataclass(frozen=True)
class Way:
    """One way of a node to compute: an engine on a device, as a hwprofile says it.

    Ways that name the same `memory` share it, and each may fill it to `memory_bytes` in all. With several
    cards the memory is that of all, for the engine splits a model over them; the speed is that of one.
    """

    profile: str
    accelerator: Accelerator
    engine: EngineName
    device: str
    memory: str
    memory_bytes: int
    parallel: int
    formats: tuple[str, ...]
    """The best first: "gguf:Q4_K_M"."""
    prompt_tokens: int = 0
    settings: tuple[tuple[str, Setting], ...] = ()
    figures: HardwareFigures | None = None
    idle_watts: float = 0.0
    busy_watts: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.engine.value} on {self.device}"


@dataclass(frozen=True)
class NodeFacts:
    """A node as placement sees it. `lent_share` is how much of the demand's time it computes: of a machine on
    a list, the share of the working hours in which it is switched on.

    `most_engines` beside the demo's: a worker has a few ports for them.
    """

    id: str
    name: str
    ways: tuple[Way, ...]
    is_box: bool = False
    lent_share: float = 1.0
    most_engines: int = 64


@dataclass(frozen=True)
class ModelFiles:
    """One form in which a model's weights are at hand. `format` as hwprofiles write it: "gguf:Q4_K_M"."""

    digest: str
    format: str
    weights_bytes: int
    openvino_reads: bool = False
    """It is a GGUF that OpenVINO can load, too: used so where that was measured to be faster."""


@dataclass(frozen=True)
class ModelNeed:
    """What a model needs, whoever runs it; its `facts` say how much memory its answers take.

    `active_parameters` are those that one token passes through: fewer than all in a mixture of experts.
    `context_tokens` is what one answer should have; `quality` orders models, the higher the better.
    """

    name: str
    files: tuple[ModelFiles, ...]
    facts: ModelFacts
    parameters: float
    context_tokens: int
    kind: Kind = Kind.TEXT
    active_parameters: float = 0.0
    quality: float = 0.0
    is_demo: bool = False

    @property
    def kv_bytes_per_token(self) -> int:
        return self.facts.kv_values_per_token * CACHE_BYTES_A_VALUE

    @property
    def active_share(self) -> float:
        """Of the weights, what one token reads."""
        return self.active_parameters / self.parameters if self.active_parameters and self.parameters else 1.0


@dataclass(frozen=True)
class Measured:
    """One benchmark of an engine on a node. `together` is the sum over `at_once` answers."""

    node: str
    model: str
    digest: str
    engine: EngineName
    device: str
    profile: str
    prompt: float
    alone: float
    together: float
    at_once: int
    at: float
    predicted_alone: float = 0.0
    """What the figures alone had said, uncorrected: the difference is what is learned."""
    versions: str = ""
    """Of driver and engine; another text means: measure anew."""


@dataclass(frozen=True)
class Demand:
    """What was asked of a model, per hour, in the hours that count."""

    model: str
    requests_per_hour: float
    prompt_tokens_per_hour: float
    answer_tokens_per_hour: float


@dataclass(frozen=True)
class Wishes:
    """What an admin decided. Pairs are (node id, model)."""

    pinned: frozenset[tuple[str, str]] = frozenset()
    never: frozenset[tuple[str, str]] = frozenset()
    """For good, or for a while."""
    copies: tuple[tuple[str, int], ...] = ()
    """At least so many nodes hold the model."""
    least_tokens_per_second: float = READABLE_TOKENS_PER_SECOND

    def copies_of(self, model: str) -> int:
        return dict(self.copies).get(model, 0)


@dataclass(frozen=True)
class Running:
    """An engine that is there now. `in_flight` are answers that it is giving.

    `slots` 0: how many it answers at once is its own affair, as with all that don't write text.
    """

    node: str
    model: str
    digest: str
    engine: EngineName
    device: str
    slots: int
    context_tokens: int
    in_flight: int = 0
    idle_seconds: float = 0.0
    ready: bool = True
    memory_bytes: int = 0
    loaded_seconds: float = 1e9
    """Since it was first seen ready."""
    failed_loads: int = 0
    """So many starts in a row ended before it was ready."""
    last_end: str = ""


@dataclass(frozen=True)
class GivenUp:
    """A way by which a model is not loaded for now, for its engine ended there whenever it was."""

    node: str
    digest: str
    engine: EngineName
    device: str
    because: str
    """Follows the way's name: "... is given up ..."."""


@dataclass(frozen=True)
class Trial:
    """A way that a node should take tonight, for nobody measured it yet."""

    node: str
    digest: str
    engine: EngineName
    device: str


class SpeedSource(StrEnum):
    """How a speed is known, the best first."""

    MEASURED = "measured"
    CORRECTED = "corrected"
    """Predicted, and corrected by what was measured on this node or on others of its kind."""
    PREDICTED = "predicted"
    ASSUMED = "assumed"
    """Nothing is published or measured."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second: reading a prompt, answering alone, and all answers together at `at_once`."""

    prompt: float
    alone: float
    together: float
    at_once: int
    source: SpeedSource
    because: str


@dataclass(frozen=True)
class Placed:
    """One engine that a node should run, and why."""

    node: str
    model: str
    digest: str
    way: Way
    slots: int
    context_tokens: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    speed: Speed
    because: str

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


@dataclass(frozen=True)
class Unplaced:
    """A model that runs nowhere, or not where it should; `node` is named where it was about one."""

    model: str
    because: str
    node: str | None = None


class Action(StrEnum):
    LOAD = "load"
    UNLOAD = "unload"
    MOVE = "move"
    RESTART = "restart"
    """With other settings, slots, engine or files."""
    KEEP = "keep"


@dataclass(frozen=True)
class Change:
    """What would change against what runs now; `to_node` only of a move."""

    action: Action
    node: str
    model: str
    because: str
    to_node: str | None = None


@dataclass(frozen=True)
class Plan:
    """Where each model should run; pure, and the same for the same facts."""

    placed: tuple[Placed, ...]
    unplaced: tuple[Unplaced, ...]
    reasons: tuple[str, ...]
    changes: tuple[Change, ...] = field(default=())

    def on(self, node: str) -> tuple[Placed, ...]:
        return tuple(each for each in self.placed if each.node == node)
