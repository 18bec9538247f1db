"""Keeping an adopted server under watch: checked before it serves, looked at every few seconds after.

`standing` decides when and what follows; here it is asked. Whatever is wrong is told in `trouble`, and the
engine is not ready until a check has passed again.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from appliance.engines.adopted.asking import Asker
from appliance.engines.adopted.checking import Called, claim_of, unable_of, verdict
from appliance.engines.adopted.finding import answers_of
from appliance.engines.adopted.fingerprint import characters_per_token
from appliance.engines.adopted.measuring import Measured, measure
from appliance.engines.adopted.places import Places
from appliance.engines.adopted.probing import Prober, Probes, Whole
from appliance.engines.adopted.recognising import LOOKED_PATHS, MODELS, Claim, Found, claims_of, recognise
from appliance.engines.adopted.relaying import Relay
from appliance.engines.adopted.servers import SERVERS, Ability, ServerKind
from appliance.engines.adopted.standing import (
    Deed,
    Standing,
    after_check,
    after_look,
    after_silence,
    next_deed,
)
from appliance.engines.adopted.target import AdoptedSettings, Target, asker_for
from appliance.errors import Refusal
from appliance.upstream import UpstreamLost

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
LOOK_SECONDS = 3.0


class Watch:
    """`relay` is made by the first check that passes; until then nothing is asked of the server by others."""

    def __init__(
        self, name: str, settings: AdoptedSettings, places: Places, relay_for: Callable[[Target], Relay]
    ) -> None:
        self._name = name
        self._settings = settings
        self._places = places
        self._relay_for = relay_for
        self._asker: Asker | None = None
        self.standing = Standing(fingerprint=settings.fingerprint)
        self.relay: Relay | None = None
        self.measured: Measured | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._pause()
            match next_deed(self.standing, time.monotonic(), idle=not self._places.busy):
                case Deed.CHECK:
                    await self.check()
                case Deed.LOOK:
                    await self._look()
                case Deed.REST:
                    pass

    async def check(self) -> None:
        """Asks everything, and decides anew whether it may answer."""
        was = self.standing
        try:
            self._asker = self._asker or asker_for(self._settings)
            answers = await answers_of(self._asker)
            if answers:
                await self._question(self._asker, recognise(answers))
            else:
                await self._tell_silence(self._asker)
        except (Refusal, UpstreamLost) as error:
            self.standing = after_silence(self.standing, str(error), time.monotonic(), is_gone=True)
        self._log_change(was)

    async def _question(self, asker: Asker, found: object) -> None:
        if not isinstance(found, Found):
            reason = getattr(found, "reason", "")
            self.standing = after_silence(self.standing, reason, time.monotonic(), is_gone=True)
            return
        kind = self._settings.server or found.kind
        model = self._model_of(found)
        prober = Prober(asker, SERVERS[kind], model)
        settings = self._settings
        probes = await prober.probe(settings.prompt if settings.expects else "")
        called = Called(self._name, model, settings.judge_text, settings.expects)
        judged = verdict(called, found, probes, self.standing.fingerprint)
        target = self._target(asker, kind, model, judged.claim, probes)
        if judged.fit:
            self.relay = self.relay or self._relay_for(target)
            self.relay.target = target
        if judged.fit and (self.measured is None or not self.measured.at_once):
            await self._measure(target, prober, found.slots)
        self.standing = after_check(
            self.standing, judged, judged.claim.digest if judged.claim else "", time.monotonic()
        )

    def _target(
        self, asker: Asker, kind: ServerKind, model: str, claim: Claim | None, probes: Probes
    ) -> Target:
        told = claim.context_tokens if claim else 0
        return Target(
            asker,
            SERVERS[kind],
            kind,
            model,
            vocabulary=claim.vocabulary if claim else 0,
            context_tokens=told or SERVERS[kind].context_when_untold,
            characters_per_token=characters_per_token(
                probes.whole, probes.fingerprints[0] if probes.fingerprints else Whole()
            ),
            cannot=unable_of(probes),
        )

    def _model_of(self, found: Found) -> str:
        """The one that was named, else the one that was adopted, else the only one."""
        if self._settings.model or self.relay:
            return self._settings.model or (self.relay.target.model if self.relay else "")
        return found.models[0].id if len(found.models) == 1 else ""

    async def _measure(self, target: Target, prober: Prober, claimed_slots: int) -> None:
        wanted = min(self._places.slots, claimed_slots or self._places.slots)
        ignore_eos = Ability.IGNORE_EOS not in target.server.refuses
        self.measured = await measure(prober, wanted, ignore_eos=ignore_eos)
        self._places.resize(max(1, min(wanted, self.measured.at_once or claimed_slots or 1)))
        assert self.relay is not None
        self.relay.speed.tokens_per_second = self.measured.tokens_per_second
        log.info(
            "%s makes %.1f tokens/s alone, %.1f at %d at once",
            target.server.title,
            self.measured.tokens_per_second_alone,
            self.measured.tokens_per_second_at_once,
            self.measured.at_once,
        )

    async def _look(self) -> None:
        was = self.standing
        relay = self.relay
        assert relay is not None
        relay.lost.clear()
        target = relay.target
        began = time.monotonic()
        try:
            reply = await target.asker.get(LOOKED_PATHS.get(target.kind, MODELS), within_seconds=LOOK_SECONDS)
        except UpstreamLost:
            if relay.answered_at < began:  # else it is busy answering, and that is as good
                await self._tell_silence(target.asker)
            return self._log_change(was)
        found = Found(target.kind, "", claims_of(target.kind, reply) if reply.status == 200 else ())
        claim = claim_of(target.model, found)
        shown = claim.digest if claim else f"not listed ({reply.status})"
        self.standing = after_look(self.standing, shown, time.monotonic())
        return self._log_change(was)

    async def _tell_silence(self, asker: Asker) -> None:
        """Tells a server that is gone from one that only says nothing."""
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(asker.place.host, asker.place.port), timeout=1
            )
            writer.close()
        except (OSError, TimeoutError):
            trouble, is_gone = f"Nothing listens at {asker.place}: the server is not running.", True
        else:
            trouble, is_gone = f"The server at {asker.place} takes connections and does not answer.", False
        self.standing = after_silence(self.standing, trouble, time.monotonic(), is_gone=is_gone)

    async def _pause(self) -> None:
        """A tick; shorter when a request finds that the server has gone."""
        if self.relay is None or self.relay.lost.is_set():
            await asyncio.sleep(TICK_SECONDS)
        else:
            try:
                await asyncio.wait_for(self.relay.lost.wait(), TICK_SECONDS)
            except TimeoutError:
                return
        if self.relay is not None and self.relay.lost.is_set() and self.standing.ready:
            await self._look()

    def _log_change(self, was: Standing) -> None:
        if self.standing.ready and not was.ready:
            log.info("%s is ready", self._name)
        elif self.standing.trouble != was.trouble and not self.standing.ready:
            log.warning("%s is not ready: %s", self._name, self.standing.trouble)
