"""Which ways are given up because an engine ends there whenever it is loaded, and for how long. Pure.

A way (engine and device) is given up for one model's files on one node: a file that is broken takes no device
from the others. After a while it is tried again, later each time; at once when the machine, its drivers or
its engines are others than they were. An engine that was ready once ends all that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from appliance.clock import age_seconds
from appliance.hardware import MachineFacts
from appliance.hardware.profile import EngineName
from appliance.placement.contract import GivenUp, Running

FAILED_LOADS = 3
"""In a row. One may be an accident: another program had the memory just then."""
RETRY_SECONDS = 3600.0
MOST_RETRY_SECONDS = 24 * 3600.0

WayKey = tuple[str, str, EngineName, str]
"""Node, digest, engine, device."""


@dataclass(frozen=True)
class FailedWay:
    """A way that failed, as it is kept: the last time and how often before; `machine` as it was then."""

    node: str
    digest: str
    engine: EngineName
    device: str
    times: int
    at: float
    machine: str
    why: str

    @property
    def key(self) -> WayKey:
        return self.node, self.digest, self.engine, self.device

    @property
    def retry_seconds(self) -> float:
        return float(min(RETRY_SECONDS * 2 ** (self.times - 1), MOST_RETRY_SECONDS))

    def is_given_up(self, machine: str, at: float) -> bool:
        return machine == self.machine and age_seconds(self.at, at) < self.retry_seconds


def after_reports(
    known: Mapping[WayKey, FailedWay], engines: Iterable[Running], machines: Mapping[str, str], at: float
) -> dict[WayKey, FailedWay]:
    """What is to be kept from now on, given what the engines say of themselves."""
    kept = dict(known)
    for engine in engines:
        key = (engine.node, engine.digest, engine.engine, engine.device)
        if engine.ready:
            kept.pop(key, None)
        elif engine.failed_loads >= FAILED_LOADS:
            machine, before = machines.get(engine.node, ""), kept.get(key)
            if before is None or before.machine != machine:
                kept[key] = FailedWay(*key, 1, at, machine, engine.last_end)
            elif not before.is_given_up(machine, at):
                kept[key] = replace(before, times=before.times + 1, at=at, why=engine.last_end)
    return kept


def given_up(failed: Iterable[FailedWay], machines: Mapping[str, str], at: float) -> tuple[GivenUp, ...]:
    return tuple(
        GivenUp(*way.key, _because(way)) for way in failed if way.is_given_up(machines.get(way.node, ""), at)
    )


def without_given_up(running: Iterable[Running], ways: Iterable[GivenUp]) -> tuple[Running, ...]:
    """An engine that only ever ends runs nothing and holds no memory."""
    gone = {(way.node, way.digest, way.engine, way.device) for way in ways}
    return tuple(
        each
        for each in running
        if each.ready or (each.node, each.digest, each.engine, each.device) not in gone
    )


def machine_as_of(facts: MachineFacts | None, version: str) -> str:
    """What may let an engine load that did not: another line, and it is tried again. `version` is ours."""
    if facts is None:
        return version
    devices = [
        f"{each.pci} {each.driver} {each.driver_version} {each.firmware}".rstrip() for each in facts.devices
    ]
    runtimes = [f"{name} {version_}" for name, version_ in sorted(facts.runtimes.items())]
    return "; ".join([version, facts.kernel, *sorted(devices), *runtimes, *sorted(facts.engines)])


def _because(way: FailedWay) -> str:
    return (
        f"is given up for now: its engine ended {FAILED_LOADS} times in a row while it was loaded "
        f"({way.why.rstrip('.') or 'it said nothing'}), and is tried again "
        f"after {way.retry_seconds / 3600:.0f} h or when the machine changes"
    )
