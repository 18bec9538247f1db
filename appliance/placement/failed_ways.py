"""Remembers, from what engines say of themselves, which ways are given up: rows in activity.db.

`remember_failed_ways` is called with every look at the fleet and writes only what has changed.
"""

from collections.abc import Mapping, Sequence

from sqlite_utils import Database

from appliance import VERSION
from appliance.clock import age_seconds
from appliance.engines.tending import EngineState
from appliance.hardware import MachineFacts
from appliance.hardware.profile import EngineName
from appliance.placement.contract import GivenUp, Running
from appliance.placement.fleet import Heard
from appliance.placement.giving_up import FailedWay, WayKey, after_reports, given_up, machine_as_of
from appliance.settings import BOX_NODE
from appliance.storage import transaction

_KEPT_SECONDS = 30 * 24 * 3600.0


def remember_failed_ways(
    activity: Database, engines: Sequence[Running], machines: Mapping[str, str], at: float
) -> tuple[GivenUp, ...]:
    """The ways that are given up at `at`; `machines` as `machines_as_of` has them."""
    known = _read(activity)
    kept = after_reports(known, engines, machines, at)
    kept = {key: way for key, way in kept.items() if age_seconds(way.at, at) < _KEPT_SECONDS}
    if kept != known:
        with transaction(activity):
            activity.execute("DELETE FROM failed_ways")
            for way in kept.values():
                row = [*way.key, way.times, way.at, way.machine, way.why]
                activity.execute("INSERT INTO failed_ways VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    return given_up(kept.values(), machines, at)


def ways_given_up(activity: Database, machines: Mapping[str, str], at: float) -> tuple[GivenUp, ...]:
    """As they were last remembered."""
    return given_up(_read(activity).values(), machines, at)


def machines_as_of(machines: Mapping[str, MachineFacts], reports: Mapping[str, Heard]) -> dict[str, str]:
    """By node, what a way that failed is held against."""
    said = {node: str(heard.report.get("agent_version") or VERSION) for node, heard in reports.items()}
    return {node: machine_as_of(machines.get(node), said.get(node, VERSION)) for node in {*machines, *said}}


def of_the_box(states: Sequence[EngineState]) -> list[Running]:
    """The box's engines that don't come up: they answer nobody, so no report has them."""
    return [
        Running(
            BOX_NODE, each.name, each.digest, each.engine, each.device, 1, 0,
            ready=False, failed_loads=each.failed_loads, last_end=each.said,
        )
        for each in states
        if each.failed_loads
    ]  # fmt: skip


def _read(activity: Database) -> dict[WayKey, FailedWay]:
    rows = activity.execute("SELECT node, digest, engine, device, times, at, machine, why FROM failed_ways")
    found = (FailedWay(node, digest, EngineName(engine), *rest) for node, digest, engine, *rest in rows)
    return {way.key: way for way in found}
