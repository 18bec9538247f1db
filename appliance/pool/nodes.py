"""What the pool knows of the nodes: which engines exist, whether they are well, and what they are doing.

The box's own engines are the unix sockets in the run directory, asked for their readiness every second.
Workers are the approved ones that reported within the last 15 s. A node that falls silent leaves
routing and its unanswered requests are cut, so that they are answered elsewhere; a node that broke a
request is left alone until it has said again that it is ready.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from appliance.engines.options import Kind
from appliance.upstream import Address

_KINDS = {str(kind): kind for kind in Kind}
_EWMA_WEIGHT = 0.2
_TOKENS_WORTH_MEASURING = 8
_SPEED_WHEN_UNKNOWN = 10.0
REPORTED_WITHIN_SECONDS = 5.0
"""An engine of the box that was not heard of for longer is not told of any more."""


@dataclass(frozen=True)
class EngineHealth:
    """What one engine said of itself, as the relay and the route use it."""

    node_id: str
    """"box", or the worker's id: what the ledger and the metrics count by."""
    node: str
    """Its name, for people; two workers may have the same."""
    address: Address
    model: str
    ready: bool
    slots: int
    tokens_per_second: float
    seen_at: float
    """Monotonic seconds."""
    report: dict[str, Any]
    """The engine's whole /health/ready answer, for the overview."""
    prompt_tokens: int = 0
    """A longer prompt is refused there; 0: as the context allows."""


@dataclass(eq=False)
class NodeEngine:
    """One engine on one node. `cuts` are called when its requests must be taken back, with the reason."""

    node_id: str
    node: str
    model: str
    address: Address
    slots: int = 1
    prompt_tokens: int = 0
    in_flight: int = 0
    outstanding_tokens: float = 0.0
    tokens_per_second: float = _SPEED_WHEN_UNKNOWN
    unusable: str = "not heard of yet"
    ready: bool = False
    is_recent: bool = False
    """It was ready within the time after which a node counts as silent."""
    heard_at: float = float("-inf")
    ready_at: float = float("-inf")
    works_at: float = float("-inf")
    """When it last said that it is ready, or finishes what it answers."""
    broke_at: float = float("-inf")
    measured: bool = False
    header_name: bytes = b""
    """`node` as a response header carries it: UTF-8, percent-encoded (RFC 3986)."""
    report: dict[str, Any] = field(default_factory=dict)
    told_kind: Kind | None = None
    """What its model is for, as it last said; a report that comes before the model is loaded says nothing."""
    cuts: set[Callable[[str], None]] = field(default_factory=set)

    def hear(self, health: EngineHealth) -> None:
        """Takes over what the engine said of itself."""
        if self.node != health.node or not self.header_name:
            self.header_name = quote(health.node, safe="").encode()
        self.node, self.address, self.slots = health.node, health.address, health.slots
        self.ready, self.report = health.ready, health.report
        self.told_kind = _KINDS.get(str(health.report.get("kind")), self.told_kind)
        self.prompt_tokens = health.prompt_tokens
        self.heard_at = health.seen_at
        if health.ready:
            self.ready_at = health.seen_at
        if health.ready or health.report.get("stopping"):
            self.works_at = health.seen_at
        if not self.measured and health.tokens_per_second > 0:
            self.tokens_per_second = health.tokens_per_second

    def judge(self, at: float, silent_seconds: float) -> None:
        """Decides whether it may be given requests, at monotonic second `at`."""
        self.is_recent = at - self.ready_at <= silent_seconds
        trouble = str(self.report.get("trouble") or "")
        if self.report.get("stopping"):
            trouble = "is being stopped"
        if trouble and not self.ready and at - self.heard_at <= silent_seconds:
            self.unusable = trouble
        elif not self.is_recent:
            self.unusable = "silent" if self.ready_at > 0 else "not ready yet"
        elif not self.ready:
            self.unusable = "not ready"
        elif self.broke_at >= self.ready_at:
            self.unusable = "broke a request and has not reported since"
        else:
            self.unusable = ""

    def broke(self, at: float) -> None:
        """Notes a request that failed here."""
        self.broke_at = at
        self.unusable = "broke a request and has not reported since"

    def measure(self, tokens: int, seconds: float) -> None:
        """Learns the engine's capacity from a finished answer: its rate times those that ran beside it."""
        if tokens >= _TOKENS_WORTH_MEASURING and seconds > 0:
            sample = tokens / seconds * max(1, self.in_flight)
            self.tokens_per_second += _EWMA_WEIGHT * (sample - self.tokens_per_second)
            self.measured = True

    def cut(self, reason: str) -> None:
        """Takes back every request it has."""
        for cut in tuple(self.cuts):
            cut(reason)


class Nodes:
    """The engines of all nodes, keyed by node and model."""

    def __init__(self, silent_seconds: float, forgotten_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._forgotten_seconds = forgotten_seconds
        self._engines: dict[tuple[str, str], NodeEngine] = {}
        self._kinds: dict[str, Kind] = {}
        self._told_kinds: dict[str, Kind] = {}
        self.making_way: Set[tuple[str, str]] = frozenset()
        """Node id and model of engines that finish what they answer and are given nothing new."""

    def __iter__(self) -> Iterator[NodeEngine]:
        return iter(self._engines.values())

    def models(self) -> list[str]:
        """Every model that some node holds, whether it is well now or not."""
        return sorted(self._kinds)

    def serves(self, model: str) -> bool:
        return model in self._kinds

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each model is for, as its engines say; text where none of them does."""
        return self._kinds

    @property
    def told_kinds(self) -> Mapping[str, Kind]:
        """The same, without those of which no engine said it."""
        return self._told_kinds

    def had_usable_lately(self, model: str) -> bool:
        """Whether one was ready so lately that it is no silent one: it restarts, say."""
        return any(engine.model == model and engine.is_recent for engine in self._engines.values())

    def has_usable(self, model: str) -> bool:
        """Whether some node could answer with it now, if it had a free slot."""
        return any(engine.model == model and not engine.unusable for engine in self._engines.values())

    def usable_models(self) -> list[str]:
        return sorted({engine.model for engine in self._engines.values() if not engine.unusable})

    def update(self, heard: Iterable[EngineHealth], known_nodes: set[str], at: float) -> list[NodeEngine]:
        """Takes over what was heard; removes and cuts the engines of nodes that are known no more or
        were silent for very long, and returns those."""
        for health in heard:
            key = (health.node_id, health.model)
            engine = self._engines.get(key)
            if engine is None:
                engine = NodeEngine(health.node_id, health.node, health.model, health.address)
                self._engines[key] = engine
            engine.hear(health)
        gone = [
            engine
            for engine in self._engines.values()
            if engine.node_id not in known_nodes or at - engine.heard_at > self._forgotten_seconds
        ]
        self._forget(gone, "the node was removed")
        self._note_kinds()
        self.judge(at)
        return gone

    def keep_only(self, node_id: str, addresses: Collection[Address]) -> list[NodeEngine]:
        """Removes, cuts and returns the engines of a node at which nobody listens any more."""
        gone = [one for one in self if one.node_id == node_id and one.address not in addresses]
        self._forget(gone, "its engine was taken away")
        self._note_kinds()
        return gone

    def _forget(self, gone: list[NodeEngine], why: str) -> None:
        for engine in gone:
            del self._engines[engine.node_id, engine.model]
            engine.unusable = why
            engine.cut(why)

    def _note_kinds(self) -> None:
        self._kinds = dict.fromkeys((engine.model for engine in self._engines.values()), Kind.TEXT)
        self._told_kinds = {engine.model: engine.told_kind for engine in self if engine.told_kind is not None}
        self._kinds |= self._told_kinds

    def judge(self, at: float) -> None:
        """Judges every engine anew and cuts the silent ones."""
        for engine in self._engines.values():
            engine.judge(at, self._silent_seconds)
            if not engine.unusable and (engine.node_id, engine.model) in self.making_way:
                engine.unusable = "makes way for a model that is waited for"
            if engine.cuts and at - engine.works_at > self._silent_seconds:
                engine.cut(f"{engine.node} was silent for {self._silent_seconds:g} s")
