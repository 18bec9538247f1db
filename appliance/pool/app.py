"""The pool as one ASGI application: `app`, served by gunicorn (see gunicorn_conf.py).

/v1 is answered by the steps admit → queue → route → relay → meter, called by the server without ASGI (see
server.py); /enrol goes to enrolment, /health and /openapi.json are answered here, and every other path is
the web service's.
"""

import asyncio
import gc
from time import monotonic

import orjson
import psutil

from appliance.enrolment import make_enrolment_app
from appliance.pool.api import Api
from appliance.pool.asgi import JSON, Receive, Scope, Send, answer
from appliance.pool.boxhealth import BoxHealth
from appliance.pool.dispatch import Dispatch
from appliance.pool.limits import Limits
from appliance.pool.memory import Decided, Heard, Memory
from appliance.pool.meter import Meter
from appliance.pool.metrics import Metrics
from appliance.pool.nodes import REPORTED_WITHIN_SECONDS, EngineHealth, NodeEngine, Nodes
from appliance.pool.openapi import description
from appliance.pool.pages import Pages
from appliance.pool.relay import Relay
from appliance.settings import BOX_NODE, Settings, load_settings
from appliance.upstream import Address, Upstream
from appliance.watchdog import watchdog_of_this_process

_LAST_WORDS_SECONDS = 2.0
"""For requests that were cut off by the shutdown to say so and to be metered."""


_COLLECT_AFTER_ALLOCATIONS = 20_000


class Pool:
    """Wires the steps together and runs what belongs to them between startup and shutdown."""

    def __init__(self, settings: Settings, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._upstream = Upstream(self._limits.connect_seconds)
        self._nodes = Nodes(self._limits.node_silent_seconds, self._limits.node_forgotten_seconds)
        self._known = {BOX_NODE}
        self._dispatch = Dispatch(
            self._nodes,
            settings.queue_limit,
            self._limits.queue_wait_seconds,
            self._limits.load_wait_seconds,
            self._limits.load_queue_limit,
        )
        self._metrics = Metrics(self._dispatch)
        self._meter = Meter(settings.state_dir, self._limits.flush_every_seconds)
        relay = Relay(self._dispatch, self._upstream, self._limits)
        self.api = Api(settings, self._limits, relay, self._meter, self._metrics)
        self._pages = Pages(self._upstream, Address.unix(settings.web_socket))
        self._enrolment = make_enrolment_app(settings)
        self._memory = Memory(settings, self._limits, self._take_decided, self._take_heard)
        self._box = BoxHealth(self._upstream, self._limits)
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        path: str = scope["path"]
        if path.startswith("/enrol/"):
            return await self._enrolment(scope, receive, send)
        if path == "/health/live":
            return await answer(send, 200, b'{"live":true}', [JSON])
        if path == "/health/ready":
            return await self._answer_ready(send)
        if path == "/openapi.json":
            return await answer(send, 200, description(), [JSON])
        return await self._pages(scope, receive, send)

    async def _answer_ready(self, send: Send) -> None:
        models = self._nodes.usable_models()
        body = orjson.dumps({"ready": bool(models), "models": models})
        await answer(send, 200 if models else 503, body, [JSON])

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._meter.start()
        self._metrics.start(self._settings.metrics_port)
        await self._memory.start()
        running = (self._watch_box(), self._report(), watchdog_of_this_process().beat())
        self._tasks = [asyncio.create_task(each) for each in running]
        # what was made until now lives as long as the process: no collection need look at it again
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS, 20, 20)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._tasks:
            task.cancel()
        await self.api.ended(_LAST_WORDS_SECONDS)
        await asyncio.to_thread(self._memory.stop)
        self._upstream.close()
        self._metrics.stop()
        await asyncio.to_thread(self._meter.stop)
        await send({"type": "lifespan.shutdown.complete"})

    def _take_decided(self, decided: Decided) -> None:
        self.api.callers = decided.callers
        self.api.names = decided.names
        self._dispatch.take_models(decided.names.held, decided.names.unloadable)
        self._nodes.making_way = decided.making_way
        self._known = {BOX_NODE, *(worker.id for worker in decided.workers)}
        self._take_engines(())

    def _take_heard(self, heard: Heard) -> None:
        self._box.look_at(heard.box_sockets)
        for engine in self._nodes.keep_only(BOX_NODE, self._box.addresses):
            self._upstream.forget(engine.address)
        self._take_engines(heard.engines)

    def _take_engines(self, heard: tuple[EngineHealth, ...]) -> None:
        for engine in self._nodes.update(heard, self._known, monotonic()):
            self._upstream.forget(engine.address)
        self._dispatch.serve_all()

    async def _watch_box(self) -> None:
        while True:
            self._take_engines(await self._box.ask_all())
            await asyncio.sleep(self._limits.health_every_seconds)

    async def _report(self) -> None:
        """What the overview shows of the box and of the pool."""
        while True:
            in_flight: dict[str, int] = {}
            for engine in self._nodes:
                in_flight[engine.node_id] = in_flight.get(engine.node_id, 0) + engine.in_flight
            queue = self._dispatch.queue
            pool = {
                "queue_length": len(queue),
                "waiting": queue.lengths(),
                "in_flight": in_flight,
                "max_queue": queue.limit,
            }
            engines = [engine.report for engine in self._nodes if _is_told(engine)]
            box = {"name": BOX_NODE, "engines": engines, "load": {"cpu_percent": psutil.cpu_percent()}}
            self._meter.report("pool", orjson.dumps(pool))
            self._meter.report(BOX_NODE, orjson.dumps(box))
            await asyncio.sleep(self._limits.own_report_every_seconds)


def _is_told(engine: NodeEngine) -> bool:
    return engine.node_id == BOX_NODE and monotonic() - engine.heard_at < REPORTED_WITHIN_SECONDS


app = Pool(load_settings())
