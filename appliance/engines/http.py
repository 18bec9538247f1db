"""The engine server as a bare ASGI app: which path is answered by what, and what a refusal looks like."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from appliance.engines.chat import chat_completions
from appliance.engines.completions import completions
from appliance.engines.embeddings import embeddings
from appliance.engines.engine import Engine, EngineStarting
from appliance.engines.exchange import ClientLeft, Exchange, Receive, Send
from appliance.engines.metrics import EngineMetrics, Outcome
from appliance.errors import Broken, Refusal, Refused

_log = logging.getLogger(__name__)
BODY_LIMIT_BYTES = 8 * 1024 * 1024
REAL_MODEL_HINT = (
    "This is the demo model: it knows the appliance and little else. An admin can import a real GGUF model."
)


class PathUnknown(Refused):
    code = "path_unknown"
    http_status = 404


class MethodNotAllowed(Refused):
    code = "method_not_allowed"
    http_status = 405


class InternalError(Broken):
    code = "internal_error"


class EngineApp:
    """Answers from the first moment; until `engine` is set, that it is starting."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self.engine: Engine | None = None
        self.metrics = metrics
        self._answers: dict[str, tuple[str, Callable[[Exchange], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", self._with_engine(chat_completions)),
            "/v1/completions": ("POST", self._with_engine(completions)),
            "/v1/embeddings": ("POST", self._with_engine(embeddings)),
            "/v1/models": ("GET", self._with_engine(_models)),
            "/health/live": ("GET", self._live),
            "/health/ready": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
        }

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
        known = self._answers.get(exchange.path)
        if known is None:
            raise PathUnknown(f"There is nothing at {exchange.path[:200]!r}.")
        method, answer = known
        if exchange.method != method:
            raise MethodNotAllowed(f"{exchange.path} answers {method} only.")
        await answer(exchange)

    def _with_engine(
        self, answer: Callable[[Exchange, Engine], Awaitable[None]]
    ) -> Callable[[Exchange], Awaitable[None]]:
        async def checked(exchange: Exchange) -> None:
            if self.engine is None or not self.engine.ready:
                raise EngineStarting("The model is still being loaded.", retry_after_seconds=2)
            await answer(exchange, self.engine)

        return checked

    async def _live(self, exchange: Exchange) -> None:
        live = self.engine is None or self.engine.is_alive
        await exchange.answer(200 if live else 503, {"live": live})

    async def _ready(self, exchange: Exchange) -> None:
        health = self.engine.health() if self.engine else {"ready": False}
        await exchange.answer(200 if health["ready"] else 503, health)

    async def _metrics(self, exchange: Exchange) -> None:
        await exchange.answer(200, await asyncio.to_thread(self.metrics.text))


async def _models(exchange: Exchange, engine: Engine) -> None:
    model: dict[str, Any] = {
        "id": engine.name,
        "object": "model",
        "created": engine.model.created,
        "owned_by": "cellule",
    }
    if engine.model.is_demo:
        model |= {"demo": True, "description": REAL_MODEL_HINT}
    await exchange.answer(200, {"object": "list", "data": [model]})
