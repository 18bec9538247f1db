"""A board without a battery showed a time years ahead until NTP put it right: nothing waits for that date."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.clock import now
from appliance.hardware.profile import EngineName
from appliance.placement import read_placement, unload_model
from appliance.placement.due import Engine, Occasion, due_now
from appliance.placement.fleet import heard, running_engines, waited_seconds, waiting_requests
from appliance.placement.giving_up import FailedWay
from appliance.placement.split_watching import LOST_AFTER_SECONDS, READY_WITHIN_SECONDS, SplitWatch
from appliance.settings import BOX_NODE
from appliance.storage import open_activity, open_cellule
from tests.placement.fleets import model
from tests.placement.test_split_deciding import split

YEARS = 10 * 365 * 86400.0
SMALL = model("small", 4)


def report(activity: Database, node: str, at: float, **said: object) -> None:
    activity.table("node_reports").upsert({"node": node, "at": at, "report": json.dumps(said)}, pk="node")


def test_a_way_that_was_given_up_and_a_model_that_was_unloaded_come_back(tmp_path: Path) -> None:
    at = now()
    way = FailedWay("box", "d", EngineName.LLAMA_CPP, "CPU", 1, at + YEARS, "a machine", "it ended")
    assert way.is_given_up("a machine", at + YEARS) and not way.is_given_up("a machine", at)
    with open_cellule(tmp_path) as cellule:
        unload_model(cellule, BOX_NODE, "small", at=at + YEARS, chosen_by=None)
        choice = read_placement(cellule)
    assert choice.wishes(at + YEARS).never == {(BOX_NODE, "small")} and not choice.wishes(at).never


def test_engines_are_measured_all_the_same() -> None:
    measured = Engine(
        "n", "m", "d", EngineName.LLAMA_CPP, "CPU", versions="1", measured_versions="1", measured_at=YEARS
    )
    (due,) = [due_now([measured], 100_000.0, 2).due]
    assert due and due.occasion is Occasion.NIGHTLY
    failed = replace(measured, measured_at=None, failed_at=YEARS, failures=9, made_way_at=YEARS)
    assert due_now([failed], 100_000.0, 14).due


def test_who_was_heard_ahead_of_time_is_silent_until_he_speaks_again(tmp_path: Path) -> None:
    at = now()
    with open_activity(tmp_path) as activity:
        report(activity, BOX_NODE, at + YEARS, engines=[{"model": "small", "ready": True}])
        report(activity, "pool", at + YEARS, waiting={"small": 1})
        said = heard(activity, at)
        assert said[BOX_NODE].is_silent and running_engines(activity, said, [SMALL], at) == ()
        assert waiting_requests(activity, at) == (0.0, {})


def test_what_is_loaded_and_what_is_waited_for_grow_older_from_then_on(tmp_path: Path) -> None:
    at = now()
    with open_activity(tmp_path) as activity:
        ages = []
        for clock in (at + YEARS, at, at + 200):
            report(activity, BOX_NODE, clock, engines=[{"model": "small", "ready": True}])
            (engine,) = running_engines(activity, heard(activity, clock), [SMALL], clock)
            ages.append(engine.loaded_seconds)
    assert ages == pytest.approx([0, 0, 200]), "else it would never make way"
    waited = [waited_seconds(["other"], [], clock)["other"] for clock in (at + YEARS, at, at + 20)]
    assert waited == pytest.approx([0, 0, 20]), "else it would never have its turn"


def test_a_lost_part_of_a_split_is_noticed() -> None:
    watch, of_two, at = SplitWatch(), split(), 1000.0
    nodes = {part.node for part in of_two.plan.parts}
    assert watch.lost(of_two, nodes, None, at + YEARS) == set()
    assert watch.lost(of_two, (), None, at) == set()
    assert watch.lost(of_two, (), None, at + LOST_AFTER_SECONDS + READY_WITHIN_SECONDS) == nodes
