"""Between queue and route: gives each request an engine's free slot, at once or in its turn.

A slot is given out in one step of one process, so no two requests take the same one. Whoever holds a
lease must release it; that is when the next in the queue is served.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from appliance.engines.options import Kind
from appliance.errors import Refused, TryAgain
from appliance.pool.asgi import ClientLeft
from appliance.pool.ask import Ask
from appliance.pool.client import Client
from appliance.pool.kinds import Endpoint
from appliance.pool.nodes import NodeEngine, Nodes
from appliance.pool.queue import FairQueue, Ticket
from appliance.pool.route import Route, choose, takes_prompt

log = logging.getLogger(__name__)


class ModelNotFound(Refused):
    code = "model_not_found"
    http_status = 404


class PromptTakenNowhere(Refused):
    """Every node that holds the model is known to take no prompt of this length."""

    code = "context_length_exceeded"


class NoNodeAnswers(TryAgain):
    """Every node that holds the model stayed busy, silent or broken for too long."""

    code = "no_node_available"
    http_status = 503
    openai_type = "server_error"


class TooManyWaitForModel(TryAgain):
    """A model that no node has in memory, and may never have, must not fill the queue of all."""

    code = "model_not_loaded"
    http_status = 503
    openai_type = "server_error"


class NoNodeCanLoad(Refused):
    """No node has the model, and none ever could as things are: waiting would not help."""

    code = "model_fits_no_node"
    http_status = 404


class Lease:
    """One slot of one engine, held by one request."""

    __slots__ = ("_dispatch", "engine", "tokens")

    def __init__(self, dispatch: "Dispatch", engine: NodeEngine, tokens: float) -> None:
        self._dispatch = dispatch
        self.engine = engine
        self.tokens = tokens
        engine.in_flight += 1
        engine.outstanding_tokens += tokens

    def release(self) -> None:
        """Gives the slot back and lets the next in the queue have it. Call it once."""
        self.engine.in_flight -= 1
        self.engine.outstanding_tokens -= self.tokens
        self._dispatch.serve(self.engine.model)


_Waiting = tuple[Ask, "asyncio.Future[Lease]"]


class Dispatch:
    """`held` are the models that lie on the box: a request for one that no node has loaded waits for that,
    but not for one of the `unloadable`, which no node can load."""

    def __init__(
        self,
        nodes: Nodes,
        queue_limit: int,
        wait_seconds: float,
        load_wait_seconds: float,
        load_queue_limit: int,
    ) -> None:
        self.nodes = nodes
        self.held: Mapping[str, Kind] = {}
        self.unloadable: Mapping[str, str] = {}
        self.queue: FairQueue[_Waiting] = FairQueue(queue_limit)
        self._wait_seconds = wait_seconds
        self._load_wait_seconds = load_wait_seconds
        self._load_queue_limit = load_queue_limit

    def take_models(self, held: Mapping[str, Kind], unloadable: Mapping[str, str]) -> None:
        """What the box holds now; who waits for what no node can load is told so."""
        self.held, self.unloadable = held, unloadable
        for model in self.queue.models():
            if refusal := self._no_node_can_load(model):
                self.queue.serve(model, partial(_refuse, refusal))

    def knows(self, model: str) -> bool:
        """Whether a node has it, or could load it."""
        return self.nodes.serves(model) or model in self.held

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each model is for, loaded or not; an engine's own word counts more than the box's."""
        return {**self.nodes.kinds, **self.held, **self.nodes.told_kinds}

    def lease_now(self, ask: Ask) -> Lease | None:
        """A slot of the engine that should answer, if one is free and nobody waits for it."""
        return None if self.queue.waiting_for(ask.model) else self._try(ask)

    async def lease(
        self,
        ask: Ask,
        caller_id: str,
        client: Client,
        *,
        again: bool = False,
        on_place: Callable[[int], None],
    ) -> Lease:
        """A slot of the engine that should answer, after waiting in the queue; its place there is told
        to `on_place`. Raises ModelNotFound, NoNodeCanLoad, PromptTakenNowhere, QueueFull,
        TooManyWaitForModel, NoNodeAnswers, ClientLeft."""
        # before the first node was heard of nobody knows which models there are
        is_loaded = self.nodes.has_usable(ask.model)
        if self.nodes.models() and not self.knows(ask.model):
            raise self.unknown_model(ask.model, ask.alias)
        if refusal := self._no_node_can_load(ask.model):
            raise refusal
        self._check_prompt(ask)
        if not again and self.nodes.models() and not self.nodes.had_usable_lately(ask.model):
            self._check_load_queue(ask.model)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Lease] = loop.create_future()
        ticket = Ticket(ask.model, caller_id, (ask, future))
        on_place(self.queue.join(ticket, front=again))
        deadlines = self._deadlines(ticket, is_loaded=is_loaded)
        client.on_leave = lambda: self._give_up(ticket, ClientLeft())
        if client.left:
            self._give_up(ticket, ClientLeft())
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(ticket, None)
            if not future.cancelled() and future.exception() is None:
                future.result().release()
            raise
        finally:
            for deadline in deadlines:
                deadline.cancel()
            client.on_leave = None

    def serve(self, model: str) -> None:
        """Gives free slots to those who wait for `model`, in fair order."""
        if self.queue.waiting_for(model):
            self.queue.serve(model, self._grant)

    def serve_all(self) -> None:
        """After anything about the nodes changed."""
        for model in self.queue.models():
            self.serve(model)

    def _check_prompt(self, ask: Ask) -> None:
        holding = [engine for engine in self.nodes if engine.model == ask.model]
        if holding and not any(takes_prompt(one, ask.prompt_tokens, ask.refused_by) for one in holding):
            longest = max(engine.prompt_tokens for engine in holding)
            raise PromptTakenNowhere(
                f"No node that holds '{ask.model[:100]}' takes a prompt of this length; "
                f"their accelerators take {longest} tokens at most.",
                next_step="Change its length, or ask another model.",
                param="messages" if ask.endpoint is Endpoint.CHAT else "prompt",
            )

    def _check_load_queue(self, model: str) -> None:
        if self.queue.lengths().get(model, 0) >= self._load_queue_limit:
            raise TooManyWaitForModel(
                f"No node has '{model[:100]}' in memory, and {self._load_queue_limit} requests wait for it.",
                retry_after_seconds=10,
                next_step="Repeat the request later, or ask another model.",
            )

    def _grant(self, ticket: Ticket[_Waiting]) -> bool | None:
        ask, future = ticket.waiter
        if future.done():  # cancelled in this very turn of the loop; it leaves the queue with this
            return True
        route = self._route(ask)
        if route.chosen is None:
            return None if route.unfit else False
        future.set_result(Lease(self, route.chosen, ask.tokens))
        return True

    def _try(self, ask: Ask) -> Lease | None:
        chosen = self._route(ask).chosen
        return None if chosen is None else Lease(self, chosen, ask.tokens)

    def _route(self, ask: Ask) -> Route[NodeEngine]:
        route = choose(
            ask.model, ask.tokens, self.nodes, prompt_tokens=ask.prompt_tokens, refused_by=ask.refused_by
        )
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "route for %s: %s", ask.model, "; ".join(f"{node} {why}" for node, why in route.reasons)
            )
        return route

    def _deadlines(self, ticket: Ticket[_Waiting], *, is_loaded: bool) -> list[asyncio.TimerHandle]:
        """Who waits for a slot of a model that leaves memory meanwhile waits as for any to be loaded."""
        loop, seconds = asyncio.get_running_loop(), self._load_wait_seconds
        if not is_loaded:
            too_long = self._too_long(ticket.model, seconds, is_loaded=False)
            return [loop.call_later(seconds, self._give_up, ticket, too_long)]
        last = max(self._wait_seconds, seconds)
        too_long = self._too_long(ticket.model, last, is_loaded=True)
        return [
            loop.call_later(self._wait_seconds, self._give_up_where_loaded, ticket),
            loop.call_later(last, self._give_up, ticket, too_long),
        ]

    def _give_up_where_loaded(self, ticket: Ticket[_Waiting]) -> None:
        if self.nodes.has_usable(ticket.model):
            self._give_up(ticket, self._too_long(ticket.model, self._wait_seconds, is_loaded=True))

    def _give_up(self, ticket: Ticket[_Waiting], why: Exception | None) -> None:
        _, future = ticket.waiter
        self.queue.leave(ticket)
        if not future.done():
            if why is None:
                future.cancel()
            else:
                future.set_exception(why)

    def unknown_model(self, model: str, alias: str = "") -> ModelNotFound:
        """The refusal of a model that no node holds, maybe asked for by its alias; its sentence lists those
        that there are."""
        known = ", ".join(sorted({*self.nodes.models(), *self.held})) or "none yet"
        meant = f", which '{alias[:100]}' stands for" if alias else ""
        return ModelNotFound(
            f"There is no model '{model[:100]}' here{meant}.",
            next_step=f"The models are: {known}.",
            param="model",
        )

    def _no_node_can_load(self, model: str) -> NoNodeCanLoad | None:
        """None where one can, or has it all the same: somebody may have started it by hand."""
        why = self.unloadable.get(model)
        if why is None or self.nodes.serves(model):
            return None
        return NoNodeCanLoad(
            f"'{model[:100]}' can't be loaded. {why}",
            next_step="Ask another model; an administrator can change this.",
            param="model",
        )

    def _too_long(self, model: str, seconds: float, *, is_loaded: bool) -> NoNodeAnswers:
        if is_loaded:
            sentence = f"No node could take a request for '{model[:100]}' within {seconds:g} seconds."
        else:
            sentence = f"No node could load '{model[:100]}' within {seconds:g} seconds."
        return NoNodeAnswers(sentence, retry_after_seconds=10, next_step="Repeat the request later.")


def _refuse(refusal: Refused, ticket: Ticket[_Waiting]) -> bool:
    """Takes it out of the queue."""
    _, future = ticket.waiter
    if not future.done():
        future.set_exception(refusal)
    return True
