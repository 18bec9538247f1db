"""Prometheus metrics of the pool, on a loopback port of their own, in a thread of their own.

A finished request adds to plain numbers; they become metric families when someone asks. Labels come
from what the pool itself knows (models of its nodes, its outcomes), never from a caller's text, so their
number stays bounded.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.pool.dispatch import Dispatch
from appliance.pool.meter import LedgerLine

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets, in seconds."""


class _Histogram:
    """How many values lay in each bucket; the last one has no bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        names = [*(str(bound) for bound in _BOUNDS), "+Inf"]
        return [(name, float(sum(self.counts[: index + 1]))) for index, name in enumerate(names)]


class _OfModel:
    """What is counted for one model."""

    __slots__ = ("duration", "first_token", "queue")

    def __init__(self) -> None:
        self.queue, self.first_token, self.duration = _Histogram(), _Histogram(), _Histogram()


class Metrics(Collector):
    """Counts what the ledger records, what was turned away before it, and how the nodes stand."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._tokens_in: Counter[tuple[str, str]] = Counter()
        self._tokens_out: Counter[tuple[str, str]] = Counter()
        self._turned_away: Counter[str] = Counter()
        self._models: dict[str, _OfModel] = {}
        self._server: WSGIServer | None = None

    def count(self, line: LedgerLine) -> None:
        """Adds one finished request."""
        model, node = line.model or "", line.node or ""
        self._requests[line.outcome, model, node] += 1
        self._tokens_in[model, node] += line.tokens_in
        self._tokens_out[model, node] += line.tokens_out
        of_model = self._models.get(model)
        if of_model is None:
            of_model = self._models[model] = _OfModel()
        of_model.queue.add(line.queue_seconds)
        of_model.duration.add(line.duration_seconds)
        if line.first_token_seconds is not None:
            of_model.first_token.add(line.first_token_seconds)

    def turn_away(self, code: str) -> None:
        """Adds one request without a valid key."""
        self._turned_away[code] += 1

    def start(self, port: int) -> None:
        """Serves /metrics on loopback."""
        registry = CollectorRegistry()
        registry.register(self)
        self._server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def collect(self) -> Iterator[Metric]:
        """Everything at the moment of the question; called in the thread that serves /metrics."""
        requests = CounterMetricFamily(
            "cellule_pool_requests",
            "Admitted requests by what became of them",
            labels=("outcome", "model", "node"),
        )
        for key, number in list(self._requests.items()):
            requests.add_metric(key, number)
        yield requests
        for name, text, tokens in (
            ("cellule_pool_prompt_tokens", "Tokens read", self._tokens_in),
            ("cellule_pool_generated_tokens", "Tokens generated", self._tokens_out),
        ):
            family = CounterMetricFamily(name, text, labels=("model", "node"))
            for place, number in list(tokens.items()):
                family.add_metric(place, number)
            yield family
        away = CounterMetricFamily(
            "cellule_pool_turned_away", "Requests without a valid key", labels=("code",)
        )
        for code, number in list(self._turned_away.items()):
            away.add_metric((code,), number)
        yield away
        yield from self._histograms()
        yield from self._nodes()

    def _histograms(self) -> Iterator[Metric]:
        for name, text in (
            ("queue", "Time in the queue"),
            ("first_token", "Time to the first token"),
            ("duration", "Whole time of a request"),
        ):
            family = HistogramMetricFamily(f"cellule_pool_{name}_seconds", text, labels=("model",))
            for model, of_model in list(self._models.items()):
                histogram: _Histogram = getattr(of_model, name)
                family.add_metric((model,), histogram.buckets(), histogram.total)
            yield family

    def _nodes(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("cellule_pool_queue_length", "Requests waiting", len(self._dispatch.queue))
        labels = ("node", "model")
        in_flight = GaugeMetricFamily("cellule_pool_in_flight", "Requests on a node", labels=labels)
        usable = GaugeMetricFamily("cellule_pool_usable", "1 if the node can answer", labels=labels)
        speed = GaugeMetricFamily("cellule_pool_tokens_per_second", "Measured capacity", labels=labels)
        for engine in list(self._dispatch.nodes):
            label = (engine.node_id, engine.model)
            in_flight.add_metric(label, engine.in_flight)
            usable.add_metric(label, not engine.unusable)
            speed.add_metric(label, engine.tokens_per_second)
        yield from (in_flight, usable, speed)
