"""What the engine counts, in Prometheus text. Counters agree with the `usage` of the answers."""

import enum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Outcome(enum.StrEnum):
    """How a request ended, as the engine saw it."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    FAILED = "failed"


_STEP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class EngineMetrics:
    """One registry of its own, so that two engines in one process (in tests) don't meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "cellule_engine"
        self.requests = Counter(f"{prefix}_requests", "Requests ended", ["outcome"], registry=self.registry)
        for outcome in Outcome:
            self.requests.labels(outcome)
        self.prompt_tokens = Counter(f"{prefix}_prompt_tokens", "Prompt tokens", registry=self.registry)
        self.generated_tokens = Counter(
            f"{prefix}_generated_tokens", "Generated tokens", registry=self.registry
        )
        self.reused_tokens = Counter(
            f"{prefix}_reused_tokens", "Prompt tokens found computed", registry=self.registry
        )
        self.preempted = Counter(
            f"{prefix}_preempted", "Sequences sent back to wait for lack of KV cache", registry=self.registry
        )
        self._decode = Histogram(
            f"{prefix}_step_decode_seconds",
            "A step in llama.cpp",
            registry=self.registry,
            buckets=_STEP_BUCKETS,
        )
        self._other = Histogram(
            f"{prefix}_step_other_seconds",
            "A step outside of llama.cpp: placing, sampling, text",
            registry=self.registry,
            buckets=(0.0001, 0.00025, 0.0005, *_STEP_BUCKETS),
        )
        self._busy = Gauge(f"{prefix}_busy_slots", "Sequences running", registry=self.registry)
        self._waiting = Gauge(f"{prefix}_waiting", "Sequences waiting for a slot", registry=self.registry)
        self._kv_tokens = Gauge(
            f"{prefix}_kv_tokens",
            "Tokens kept computed, in the KV cache or beside it",
            registry=self.registry,
        )

    def step(self, *, decode_seconds: float, other_seconds: float) -> None:
        self._decode.observe(decode_seconds)
        self._other.observe(other_seconds)

    def occupancy(self, busy: int, waiting: int, kv_tokens: int) -> None:
        self._busy.set(busy)
        self._waiting.set(waiting)
        self._kv_tokens.set(kv_tokens)

    def text(self) -> bytes:
        return bytes(generate_latest(self.registry))
