"""All engines of this machine, brought from what runs to what the box wants.

One that is not wanted any more finishes what it answers; until it has ended nothing new is started, for that
may need its memory or its port. The others are tended meanwhile.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from appliance.enrolment.contract import DesiredEngine, EngineReport
from appliance.models.bundle import Bundle
from appliance.worker.adoptions import Adoptions
from appliance.worker.desired import NO_FILE, EngineSpec, plan_engines
from appliance.worker.engine_process import EngineProcess
from appliance.worker.model_files import find_model

log = logging.getLogger(__name__)


class Engines:
    """Empty at first; the processes are children of the calling thread and end with it."""

    def __init__(
        self, state_dir: Path, address: IPv4Address, find_bundle: Callable[[Bundle], Path | None]
    ) -> None:
        self._state_dir = state_dir
        self._find_bundle = find_bundle
        self._address = address
        self._adoptions = Adoptions(state_dir)
        self._running: dict[EngineSpec, EngineProcess] = {}
        self._finishing: list[EngineProcess] = []
        self._wanted: tuple[Sequence[DesiredEngine], Collection[int]] = ((), ())
        self._told: tuple[str, ...] = ()

    def apply(self, desired: Sequence[DesiredEngine], taken_ports: Collection[int] = ()) -> None:
        """Stops and starts what differs; says once what can't be done. `taken_ports`: see `plan_engines`."""
        self._wanted = (desired, taken_ports)
        bundles = {engine.model: engine.bundle for engine in desired}
        changes = plan_engines(
            desired,
            tuple(self._running),
            lambda model: self._find(model, bundles.get(model)),
            taken_ports,
        )
        for spec in changes.stop:
            log.info("engine %s is not wanted like this any more", spec.model)
            engine = self._running.pop(spec)
            engine.finish()
            self._finishing.append(engine)
        self._finishing = [engine for engine in self._finishing if not engine.has_ended()]
        for spec in () if self._finishing else changes.start:
            self._start(spec)
        if changes.left_out != self._told:
            self._told = changes.left_out
            for reason in changes.left_out:
                log.warning("%s", reason)

    def _start(self, spec: EngineSpec) -> None:
        fingerprint = partial(self._adoptions.fingerprint, spec)
        try:
            self._running[spec] = EngineProcess(spec, self._address, fingerprint)
        except OSError as error:
            # the others go on; the next report's answer asks for it again
            log.warning("engine %s can't be started now: %s", spec.model, error)

    def tend(self) -> bool:
        """Restarts what died, and starts what waited for others' end.

        True when an engine has just become ready, or died: news for the box.
        """
        if self._finishing and all(engine.has_ended() for engine in self._finishing):
            self.apply(*self._wanted)
        has_news = False
        for engine in self._running.values():
            has_news |= engine.tend()
            if not engine.is_ready:
                has_news |= engine.report().ready
        return has_news

    def reports(self) -> tuple[EngineReport, ...]:
        reports = {spec: engine.report() for spec, engine in self._running.items()}
        for spec, report in reports.items():
            if report.ready and report.fingerprint:
                self._adoptions.remember(spec, report.fingerprint)
        return (*reports.values(), *(engine.report() for engine in self._finishing))

    def stop(self) -> None:
        """Ends all of them at once, finished or not; nothing is wanted then."""
        self._wanted = ((), ())
        while self._running:
            self._running.popitem()[1].stop()
        while self._finishing:
            self._finishing.pop().stop()

    def files(self) -> tuple[Path, ...]:
        """What the engines run on."""
        specs = (*self._running, *(engine.spec for engine in self._finishing))
        return tuple(spec.file for spec in specs if spec.file != NO_FILE)

    def _find(self, model: str, bundle: Bundle | None) -> Path | None:
        return find_model(self._state_dir, model) if bundle is None else self._find_bundle(bundle)
