"""What the overview says of a node is what the node said of itself, as long as it is heard."""

import json

import pytest
from sqlite_utils import Database

from appliance.accounting import NodeState, node_overviews, pool_overview
from appliance.settings import SILENT_AFTER_SECONDS
from tests.accounting.ledger import add_line

NOW = 1_800_000_000.0
ENGINE = {
    "model": "cellule-demo",
    "ready": True,
    "demo": True,
    "slots": 8,
    "busy": 3,
    "waiting": 1,
    "tokens_per_second": 40.5,
}


def report(activity: Database, node: str, at: float, **content: object) -> None:
    activity.execute("INSERT OR REPLACE INTO node_reports VALUES (?, ?, ?)", [node, at, json.dumps(content)])


def test_a_new_box_has_one_node_that_was_never_seen(activity: Database) -> None:
    [box] = node_overviews(activity, {}, NOW)
    assert (box.id, box.state, box.report_age_seconds, box.engines) == ("box", NodeState.NEVER_SEEN, None, ())


@pytest.mark.parametrize(
    ("age", "ready", "state"),
    [
        (0, True, NodeState.READY),
        (SILENT_AFTER_SECONDS, True, NodeState.READY),
        (SILENT_AFTER_SECONDS + 0.1, True, NodeState.SILENT),
        (0, False, NodeState.STARTING),
        (3600, False, NodeState.SILENT),
    ],
)
def test_a_state_follows_the_report_and_its_age(
    activity: Database, age: float, ready: bool, state: NodeState
) -> None:
    report(activity, "box", NOW - age, name="box", engines=[ENGINE | {"ready": ready}], load={})
    [box] = node_overviews(activity, {}, NOW)
    assert box.state is state
    assert box.demo is (state is NodeState.READY)


def test_lists_the_box_first_then_workers_by_name_with_their_work(activity: Database) -> None:
    report(activity, "box", NOW, name="box", engines=[ENGINE], load={})
    load = {"cpu_percent": 12.5, "user_active": True}
    report(activity, "w2", NOW, name="lies about its name", engines=[ENGINE], load=load)
    report(activity, "gone", NOW, name="gone", engines=[ENGINE], load={})
    add_line(activity, NOW - 10, node="w2", tokens_out=5)
    add_line(activity, NOW - 20, node="w2", tokens_out=6)
    add_line(activity, NOW - 7200, node="w2")
    nodes = node_overviews(activity, {"w1": "zoe", "w2": "Anna", "w3": "Anna"}, NOW)
    assert [(node.id, node.name) for node in nodes] == [
        ("box", "box"),
        ("w2", "Anna"),
        ("w3", "Anna"),
        ("w1", "zoe"),
    ]
    assert (nodes[1].requests_last_hour, nodes[1].tokens_last_hour) == (2, 11)
    assert (nodes[1].cpu_percent, nodes[1].user_active) == (12.5, True)
    assert nodes[2].requests_last_hour == 0  # of the same name as the one before, and another machine
    assert nodes[3].state is NodeState.NEVER_SEEN


def test_the_queue_is_known_only_while_the_pool_reports(activity: Database) -> None:
    assert not pool_overview(activity, NOW).reporting
    report(activity, "pool", NOW - 1, queue_length=4, max_queue=256, in_flight={"box": 8})
    pool = pool_overview(activity, NOW)
    assert (pool.reporting, pool.queue_length, pool.max_queue, pool.in_flight) == (True, 4, 256, {"box": 8})
    assert not pool_overview(activity, NOW + SILENT_AFTER_SECONDS + 1).reporting
