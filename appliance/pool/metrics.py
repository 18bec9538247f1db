"""Prometheus metrics of the pool, on a loopback port of their own, in a thread of their own.

Labels come from what the pool itself knows (models of its nodes, its outcomes), never from a caller's
text, so their number stays bounded.
"""

from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from appliance.pool.dispatch import Dispatch
from appliance.pool.meter import LedgerLine

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counts what the ledger records, what was turned away before it, and how the nodes stand."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.registry = CollectorRegistry()
        labels = ("outcome", "model", "node")
        self._requests = Counter(
            "cellule_pool_requests",
            "Admitted requests by what became of them",
            labels,
            registry=self.registry,
        )
        self._tokens_in = Counter(
            "cellule_pool_prompt_tokens", "Tokens read", ("model", "node"), registry=self.registry
        )
        self._tokens_out = Counter(
            "cellule_pool_generated_tokens", "Tokens generated", ("model", "node"), registry=self.registry
        )
        self.turned_away = Counter(
            "cellule_pool_turned_away", "Requests without a valid key", ("code",), registry=self.registry
        )
        self._queue = self._histogram("cellule_pool_queue_seconds", "Time in the queue")
        self._first_token = self._histogram("cellule_pool_first_token_seconds", "Time to the first token")
        self._duration = self._histogram("cellule_pool_duration_seconds", "Whole time of a request")
        self.registry.register(_NodeGauges(dispatch))
        self._labelled: dict[tuple[str, str, str], Callable[[LedgerLine], None]] = {}
        self._server: WSGIServer | None = None

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("model",), buckets=_SECONDS, registry=self.registry)

    def count(self, line: LedgerLine) -> None:
        """Adds one finished request."""
        key = (line.outcome, line.model or "", line.node or "")
        add = self._labelled.get(key)
        if add is None:
            add = self._labelled[key] = self._adder(*key)
        add(line)

    def _adder(self, outcome: str, model: str, node: str) -> Callable[[LedgerLine], None]:
        requests = self._requests.labels(outcome, model, node)
        tokens_in, tokens_out = self._tokens_in.labels(model, node), self._tokens_out.labels(model, node)
        queue, first, duration = (
            metric.labels(model) for metric in (self._queue, self._first_token, self._duration)
        )

        def add(line: LedgerLine) -> None:
            requests.inc()
            tokens_in.inc(line.tokens_in)
            tokens_out.inc(line.tokens_out)
            queue.observe(line.queue_seconds)
            duration.observe(line.duration_seconds)
            if line.first_token_seconds is not None:
                first.observe(line.first_token_seconds)

        return add

    def start(self, port: int) -> None:
        """Serves /metrics on loopback."""
        self._server, _ = start_http_server(port, addr="127.0.0.1", registry=self.registry)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _NodeGauges(Collector):
    """What is true at the moment of the question."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def collect(self) -> list[GaugeMetricFamily]:
        queue = GaugeMetricFamily("cellule_pool_queue_length", "Requests waiting", len(self._dispatch.queue))
        in_flight = GaugeMetricFamily(
            "cellule_pool_in_flight", "Requests on a node", labels=("node", "model")
        )
        usable = GaugeMetricFamily(
            "cellule_pool_usable", "1 if the node can answer", labels=("node", "model")
        )
        speed = GaugeMetricFamily(
            "cellule_pool_tokens_per_second", "Measured capacity", labels=("node", "model")
        )
        for engine in list(self._dispatch.nodes):
            label = (engine.node, engine.model)
            in_flight.add_metric(label, engine.in_flight)
            usable.add_metric(label, not engine.unusable)
            speed.add_metric(label, engine.tokens_per_second)
        return [queue, in_flight, usable, speed]
