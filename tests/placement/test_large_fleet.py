"""Hundreds of nodes with months of benchmarks: planning and measuring stay quick."""

import json
from collections.abc import Iterator, Sequence

import pytest

from appliance.clock import now
from appliance.hardware import read_profiles
from appliance.hardware.places import SHIPPED
from appliance.hardware.profile import EngineName
from appliance.placement import Workload, benchmarks, read_inventory, simulate, sizing
from appliance.placement.arrivals import Arrival
from appliance.placement.benchmarks import measure_what_is_due
from appliance.placement.contract import Measured
from appliance.placement.history import History
from appliance.placement.measuring import MadeWay
from appliance.placement.planning import plan
from appliance.placement.replay import Answered, Replayed, SimulatedNode
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.placement.fleets import cpu, demand, measured, model, node

MODELS = [model("small", 4), model("middle", 8)]


class Counted(History):
    """Counts how often all of it is looked through."""

    looked_through = 0

    def __iter__(self) -> Iterator[Measured]:
        type(self).looked_through += 1
        return super().__iter__()


def test_a_plan_looks_through_the_benchmarks_once_and_not_for_each_node_and_model() -> None:
    nodes = [node(f"pc {number}", cpu()) for number in range(40)]
    # of one model: the other's speed is corrected by what these nodes and their kind showed
    kept = Counted(measured(each, MODELS[0], 10, predicted_alone=20) for each in nodes[1:])
    asked = [demand("small", 9), demand("middle", 9)]
    found = plan(nodes, MODELS, measures=kept, demand=asked)
    assert Counted.looked_through <= 2
    assert found == plan(nodes, MODELS, measures=tuple(kept), demand=asked)
    here, kind = History(kept).correction(nodes[1], cpu()), History(kept).correction(nodes[0], cpu())
    assert here[1:] == (1, "on this node") and kind[1:] == (39, "on nodes of this kind")


def test_looking_for_an_engine_to_measure_reads_each_table_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(*_: object, **__: object) -> None:
        raise MadeWay("Somebody came.", retry_after_seconds=1)

    monkeypatch.setattr(benchmarks, "measure_engine", disturbed)
    statements: list[str] = []
    counts = []
    with open_cellule(settings.state_dir) as cellule, open_activity(settings.state_dir) as activity:
        activity.conn.set_trace_callback(statements.append)
        for fleet in (1, 30):
            for number in range(fleet):
                engine = {"model": "small", "ready": True, "slots": 1, "engine": EngineName.LLAMA_CPP}
                row = {"node": "box" if number == 0 else f"pc {number}", "at": now()}
                activity.table("node_reports").upsert(
                    row | {"report": json.dumps({"engines": [engine]})}, pk="node"
                )
            statements.clear()
            assert "Somebody came" in measure_what_is_due(settings, cellule, activity, [], MODELS)
            counts.append(len(statements))
            benchmarks._MADE_WAY_AT.clear()
    assert counts[0] == counts[1]


def test_a_sized_day_goes_through_its_answers_as_often_for_many_machines_as_for_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class CountedAnswers(list[Answered]):
        looked_through = 0

        def __iter__(self) -> Iterator[Answered]:
            type(self).looked_through += 1
            return super().__iter__()

    day = Arrival(30_000.0, "ana", "small", 100, 100)

    def replayed(nodes: Sequence[SimulatedNode], _: object) -> Replayed:
        return Replayed(CountedAnswers(Answered(day, each.node, duration_seconds=2.0) for each in nodes))

    monkeypatch.setattr(sizing, "replay", replayed)
    profiles, _ = read_profiles([SHIPPED])
    counts = []
    for machines in (3, 60):
        inventory = f"name,count,cpu,memory_gb\npc,{machines},Intel Core i5-12500,32\n"
        kinds = read_inventory(inventory, profiles)
        CountedAnswers.looked_through = 0
        found = simulate(kinds, [MODELS[0]], Workload(9, 9, (("small", 1.0),)))
        assert [each.answers for each in found.nodes] == [1] * machines
        counts.append(CountedAnswers.looked_through)
    assert counts[0] == counts[1]
