"""Hundreds of nodes with months of benchmarks: planning and measuring stay quick."""

import json
from collections.abc import Iterator

import pytest

from appliance.clock import now
from appliance.hardware.profile import EngineName
from appliance.placement import benchmarks
from appliance.placement.benchmarks import measure_what_is_due
from appliance.placement.contract import Measured
from appliance.placement.history import History
from appliance.placement.measuring import MadeWay
from appliance.placement.planning import plan
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
