"""The engine server as a bare ASGI app: which path is answered by what, and what a refusal looks like."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from appliance.engines.exchange import ClientLeft, Exchange, Receive, Send
from appliance.engines.metrics import EngineMetrics, Outcome
from appliance.engines.served import Answer, EngineStarting, Served
from appliance.errors import Broken, Refusal, Refused, TryAgain

_log = logging.getLogger(__name__)
BODY_LIMIT_BYTES = 8 * 1024 * 1024


class PathUnknown(Refused):
    code = "path_unknown"
    http_status = 404


class MethodNotAllowed(Refused):
    code = "method_not_allowed"
    http_status = 405


class InternalError(Broken):
    code = "internal_error"


class EngineStopping(TryAgain):
    """It finishes what it answers and takes nothing new."""

    code = "engine_stopping"
    http_status = 503
    openai_type = "server_error"


class EngineApp:
    """Answers from the first moment; until `engine` is set, that it is starting."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self.engine: Served | None = None
        self.metrics = metrics
        self._answering = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._own: dict[str, Answer] = {
            "/v1/models": self._models,
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/metrics": self._metrics,
        }

    async def finish(self, within_seconds: float) -> None:
        """From now on takes nothing new; returns when all that runs is answered, or the time is over."""
        self._stopping = True
        if self._answering:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), within_seconds)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, BODY_LIMIT_BYTES)
        try:
            await self._route(exchange)
        except ClientLeft:
            pass
        except Refusal as error:
            self.metrics.requests.labels(Outcome.REFUSED).inc()
            _log.info("request %s %s refused: %s", exchange.request_id, exchange.path[:100], error.code)
            await exchange.refuse(error)
        except Exception:
            self.metrics.requests.labels(Outcome.FAILED).inc()
            _log.exception("request %s %s failed", exchange.request_id, exchange.path[:100])
            if exchange.started:
                raise  # half an answer is out: only breaking the connection tells the truth
            await exchange.refuse(InternalError("The engine failed on this request."))

    async def _route(self, exchange: Exchange) -> None:
        own = self._own.get(exchange.path)
        if own is None and self._stopping:
            raise EngineStopping("This engine is being stopped.", retry_after_seconds=2)
        answer = own or self._loaded().endpoints.get(exchange.path)
        if answer is None:
            served = self._loaded()
            raise PathUnknown(
                f"The model {served.name!r} does not answer at {exchange.path[:200]!r}, "
                f"only at {' and '.join(served.endpoints)}.",
                param="model",
            )
        method = "GET" if own else "POST"
        if exchange.method != method:
            raise MethodNotAllowed(f"{exchange.path} answers {method} only.")
        if own:
            return await own(exchange)
        self._answering += 1
        try:
            await answer(exchange)
        finally:
            self._answering -= 1
            if self._stopping and not self._answering:
                self._idle.set()

    def _loaded(self) -> Served:
        if self.engine is None or not self.engine.ready:
            trouble = self.engine.health().get("trouble") if self.engine else ""
            raise EngineStarting(trouble or "The model is still being loaded.", retry_after_seconds=2)
        return self.engine

    async def _models(self, exchange: Exchange) -> None:
        await exchange.answer(200, {"object": "list", "data": [self._loaded().listed()]})

    async def _live(self, exchange: Exchange) -> None:
        live = self.engine is None or self.engine.is_alive
        await exchange.answer(200 if live else 503, {"live": live})

    async def _ready(self, exchange: Exchange) -> None:
        health: dict[str, Any] = self.engine.health() if self.engine else {"ready": False}
        if self._stopping:
            health = {**health, "ready": False, "stopping": True}
        await exchange.answer(200 if health["ready"] else 503, health)

    async def _metrics(self, exchange: Exchange) -> None:
        await exchange.answer(200, await asyncio.to_thread(self.metrics.text))
