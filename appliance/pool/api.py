"""The requests under /v1: admit → queue → route → relay → meter, and the list of models."""

import asyncio
import logging
import re
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from urllib.parse import quote

import orjson

from appliance.clock import now
from appliance.engines.options import Kind
from appliance.errors import Broken, NotTrusted, Refusal, Refused, TryAgain
from appliance.models.naming import ModelNames
from appliance.people.api_keys import Caller, Callers
from appliance.pool.admit import Budgets, identify, refuse_over_budget
from appliance.pool.asgi import JSON, BodyTooSlow, ClientLeft, Headers, refusal_body, refusal_headers
from appliance.pool.ask import Ask, for_model, read_ask, read_sound_ask
from appliance.pool.client import Client
from appliance.pool.kinds import Endpoint, refuse_other_kind
from appliance.pool.limits import Limits
from appliance.pool.meter import Exchange, Meter, Outcome, new_request_id
from appliance.pool.metrics import Metrics
from appliance.pool.relay import Relay
from appliance.settings import Settings

log = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,100}")


class UnknownPath(Refused):
    code = "unknown_url"
    http_status = 404


class WrongMethod(Refused):
    code = "method_not_allowed"
    http_status = 405


class Stopping(TryAgain):
    code = "stopping"
    http_status = 503
    openai_type = "server_error"


class InternalError(Broken):
    code = "internal_error"


class Api:
    """Everything under /v1. `callers` and `names` are replaced as a whole when they change."""

    def __init__(
        self, settings: Settings, limits: Limits, relay: Relay, meter: Meter, metrics: Metrics
    ) -> None:
        self.callers = Callers({}, {})
        self.names = ModelNames()
        self._settings = settings
        self._limits = limits
        self._relay = relay
        self._meter = meter
        self._metrics = metrics
        self._budgets = Budgets()
        self._open = 0
        self._all_ended: asyncio.Event | None = None
        self._endpoints = {str(endpoint): endpoint for endpoint in Endpoint}

    async def __call__(self, client: Client) -> None:
        """Answers one request; an authenticated one to an endpoint of Endpoint leaves one ledger line."""
        given = dict(client.scope["headers"])
        own_id = new_request_id()
        asked_id = given.get(b"x-request-id")
        if asked_id is None or not _REQUEST_ID.fullmatch(asked_id):
            headers = [(b"x-request-id", own_id.encode())]
        else:
            headers = [(b"x-request-id", asked_id)]
            own_id = f"{asked_id.decode()}~{own_id}"
        try:
            caller = identify(given, client.method, self.callers, now())
            endpoint = self._endpoints.get(client.path)
            if endpoint is None or client.method != "POST":
                return self._answer_other(client, headers)
        except Refusal as refusal:
            if isinstance(refusal, NotTrusted):
                self._metrics.turn_away(refusal.code)
            return _refuse(client, refusal, headers)
        exchange = Exchange(own_id, caller, endpoint)
        self._open += 1
        try:
            await self._answer_inference(exchange, given, client, headers)
        finally:
            self._open -= 1
            if not self._open and self._all_ended is not None:
                self._all_ended.set()
            line = exchange.line()
            self._meter.record(line)
            self._metrics.count(line)

    async def ended(self, within_seconds: float) -> None:
        """Returns when no request is open any more, or when the time is over."""
        self._all_ended = asyncio.Event()
        if self._open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_ended.wait(), within_seconds)

    async def _answer_inference(
        self, exchange: Exchange, given: dict[bytes, bytes], client: Client, headers: Headers
    ) -> None:
        try:
            self._charge(exchange.caller, headers)
            ask = self._named(await self._read(exchange.endpoint, given, client), headers)
            if self._relay.dispatch.knows(ask.model):
                exchange.model = ask.model
                headers.append(_model_header(ask.model))
                if other := refuse_other_kind(ask.model, ask.endpoint, self._relay.dispatch.kinds):
                    raise other
            await self._relay.run(exchange, ask, client, headers)
            return
        except ClientLeft:
            exchange.ended(Outcome.CANCELLED, CLIENT_CLOSED_REQUEST)
            return
        except Refusal as error:
            refusal = error
        except asyncio.CancelledError:
            refusal = Stopping(
                "The box is restarting.", retry_after_seconds=5, next_step="Repeat the request."
            )
        except Exception:
            log.exception("request %s", exchange.request_id)
            refusal = InternalError(
                "Something broke here.", next_step=f"Tell support: {exchange.request_id}."
            )
        failed = refusal.http_status >= 500
        exchange.ended(Outcome.FAILED if failed else Outcome.REFUSED, refusal.http_status)
        if exchange.place:
            headers.append((b"x-cellule-queue-position", b"%d" % exchange.place))
        _refuse(client, refusal, headers)

    async def _read(self, endpoint: Endpoint, given: dict[bytes, bytes], client: Client) -> Ask:
        """The checked request. A sound is larger than what is said of it, and looked at beside the loop."""
        is_sound = endpoint is Endpoint.TRANSCRIPTION
        limit = self._settings.sound_limit_bytes if is_sound else self._settings.body_limit_bytes
        body = await client.whole_body(given.get(b"content-length"), limit, self._limits.body_seconds)
        if is_sound:
            return await asyncio.to_thread(read_sound_ask, given.get(b"content-type", b""), body)
        return read_ask(endpoint, body)

    def _named(self, ask: Ask, headers: Headers) -> Ask:
        """For the model that the asked name stands for. Raises RetiredModel, InvalidRequest."""
        named = self.names.resolve(ask.model, now())
        headers += named.headers
        return ask if named.model == ask.model else for_model(ask, named.model)

    def _charge(self, caller: Caller, headers: Headers) -> None:
        """Takes the request from the caller's budget. Raises TooManyRequests."""
        state = self._budgets.take(caller, monotonic())
        if state is not None:
            headers += state.headers()
            refusal = refuse_over_budget(state)
            if refusal is not None:
                raise refusal

    def _answer_other(self, client: Client, headers: Headers) -> None:
        path, method = client.path, client.method
        listing = path == "/v1/models" or path.startswith("/v1/models/")
        if not listing and path not in self._endpoints:
            raise UnknownPath(
                f"There is nothing at {path[:100]}.", next_step="See /openapi.json for what there is."
            )
        allowed = "GET" if listing else "POST"
        if method != allowed and not (listing and method == "HEAD"):
            headers.append((b"allow", allowed.encode()))
            raise WrongMethod(f"{path[:100]} takes {allowed}, not {method}.")
        models = {engine.model: engine.report for engine in self._relay.dispatch.nodes if not engine.unusable}
        held = {name: {"loaded": False} for name in self.names.held if name not in models}
        kinds = self._relay.dispatch.kinds
        listed = [
            _listed(model, report, kinds.get(model, Kind.TEXT))
            for model, report in sorted({**held, **models}.items())
            if not self.names.is_retired(model, now())
        ]
        own = {each["id"]: each for each in listed}
        for alias, meant in self.names.aliases.items():
            if meant in own and alias not in own:
                listed.append({**own[meant], "id": alias, "alias_of": meant})
        if path == "/v1/models":
            body = orjson.dumps({"object": "list", "data": listed})
            return client.answer(200, [JSON, *headers], body)
        for model in listed:
            if model["id"] == path.removeprefix("/v1/models/"):
                return client.answer(200, [JSON, *headers], orjson.dumps(model))
        raise self._relay.dispatch.unknown_model(path.removeprefix("/v1/models/"))


@lru_cache(maxsize=256)
def _model_header(model: str) -> tuple[bytes, bytes]:
    """Of a model that is served; percent-encoded (RFC 3986)."""
    return b"x-cellule-model", quote(model, safe="").encode()


def _refuse(client: Client, refusal: Refusal, headers: Headers) -> None:
    close = isinstance(refusal, BodyTooSlow)
    client.answer(refusal.http_status, refusal_headers(refusal, headers), refusal_body(refusal), close=close)


def _listed(model: str, report: dict[str, object], kind: Kind) -> dict[str, object]:
    """A model as /v1/models shows it."""
    shown: dict[str, object] = {"id": model, "object": "model", "created": 0, "owned_by": "cellule"}
    if report.get("demo"):
        shown["demo"] = True
        shown["description"] = (
            "A demo model that knows this appliance and common office questions. "
            "An admin brings a real one on the page Models."
        )
    if kind is not Kind.TEXT:
        shown["kind"] = kind.value
    if report.get("loaded") is False:
        shown["loaded"] = False
    if report.get("context_tokens"):
        shown["context_tokens"] = report["context_tokens"]
    return shown
