"""The engine of a model that a server of this machine's owner serves: a front to it, and nothing loaded."""

import asyncio
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from appliance.engines.adopted.places import Places
from appliance.engines.adopted.relaying import Relay
from appliance.engines.adopted.target import Target, read_settings
from appliance.engines.adopted.watching import Watch
from appliance.engines.exchange import Exchange
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions
from appliance.engines.served import Answer, EngineStarting, listing
from appliance.hardware.profile import EngineName

TROUBLE_CHARACTERS = 400


class Adopted:
    """`ready` while the last check was passed and the server is there."""

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        self.name = options.name
        self.kind = options.kind
        self._metrics = metrics
        self._context_tokens = options.context_tokens
        self._places = Places(options.slots, options.waiting)
        self._watch = Watch(options.name, read_settings(options.settings), self._places, self._relay_for)
        self._watching: asyncio.Task[None] | None = None
        self._created = int(time.time())

    @property
    def ready(self) -> bool:
        return self._watch.standing.ready

    @cached_property
    def endpoints(self) -> Mapping[str, Answer]:
        return {"/v1/chat/completions": self._chat, "/v1/completions": self._completions}

    @property
    def is_alive(self) -> bool:
        """False when nobody watches the server any more."""
        return self._watching is None or not self._watching.done()

    async def warm_up(self) -> None:
        """The first check; a server that fails it is watched until it passes."""
        await self._watch.check()
        self._watching = asyncio.create_task(self._watch.run())

    def health(self) -> dict[str, Any]:
        standing, relay = self._watch.standing, self._watch.relay
        told = relay.target.context_tokens if relay else 0
        wanted = self._context_tokens
        return {
            "ready": standing.ready,
            "model": self.name,
            "slots": self._places.slots,
            "busy": self._places.busy,
            "waiting": self._places.waiting,
            "context_tokens": min(told, wanted) if told and wanted else told or wanted,
            "prompt_tokens": 0,
            "tokens_per_second": round(relay.speed.tokens_per_second, 1) if relay else 0.0,
            "demo": False,
            "kind": self.kind,
            "engine": EngineName.ADOPTED,
            "sha256": "",
            "trouble": standing.trouble[:TROUBLE_CHARACTERS],
            "fingerprint": standing.fingerprint,
        }

    def listed(self) -> dict[str, Any]:
        return listing(self.name, self._created)

    def _relay_for(self, target: Target) -> Relay:
        return Relay(target, self.name, self._places, self._metrics)

    async def _chat(self, exchange: Exchange) -> None:
        await self._relay().chat(exchange)

    async def _completions(self, exchange: Exchange) -> None:
        await self._relay().completions(exchange)

    def _relay(self) -> Relay:
        relay = self._watch.relay
        if relay is None:
            raise EngineStarting("The adopted server was not checked yet.", retry_after_seconds=2)
        return relay
