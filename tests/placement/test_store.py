"""Measures, wishes and the applied plan on a real database; the fleet read from real rows."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlite_utils import Database

import appliance.placement
from appliance.enrolment.contract import EngineReport, WorkerFacts, WorkerReport
from appliance.hardware import MachineFacts, Processor, read_profiles
from appliance.hardware.places import SHIPPED
from appliance.placement import (
    Applying,
    CopiesRefused,
    Pin,
    applied_engines,
    apply_plan,
    apply_where_chosen,
    choose_placement,
    current_plan,
    predicted_against_measured,
    read_measures,
    read_placement,
    remove_pin,
    set_pin,
    wish_copies,
)
from appliance.placement.fleet import demand_of_hours
from appliance.placement.planning import plan
from appliance.placement.store import last_failures, record_measure
from appliance.storage import open_activity, open_cellule
from tests.placement.fleets import DEMO, GIB, cpu, demand, measured, model, node

PROFILES, _ = read_profiles([SHIPPED])
BOX = MachineFacts(
    processor=Processor(name="Intel(R) Core(TM) i7-12700", flags=frozenset({"avx2"}), cores=12),
    memory_bytes=32 * GIB,
    engines=frozenset({"llama.cpp/cpu", "openvino/cpu"}),
)
SMALL = model("small", 4)
NOW = 1_700_000_000.0


@pytest.fixture
def cellule(tmp_path: Path) -> Database:
    return open_cellule(tmp_path)


@pytest.fixture
def activity(tmp_path: Path) -> Database:
    return open_activity(tmp_path)


def add_worker(cellule: Database, name: str) -> None:
    facts = WorkerFacts(name=name, cpu="Intel(R) Core(TM) i5-8500", cores=6, memory_bytes=16 * GIB)
    cellule.table("invitations").insert({"id": name, "label": name, "created_at": 1, "expires_at": 2})
    cellule.table("workers").insert(
        {
            "id": name, "name": name.upper(), "public_key": name, "invitation_id": name, "state": "approved",
            "short_code": "1", "poll_key": b"k", "facts": facts.model_dump_json(), "created_at": 1,
            "tunnel_address": f"10.77.0.{10 + len(name)}",
        }
    )  # fmt: skip


def report(activity: Database, name: str, at: float, **engine: object) -> None:
    runs = {"model": "small", "port": 8081, "ready": True, "slots": 2, **engine}
    engines = (EngineReport.model_validate(runs),) if engine else ()
    said = WorkerReport(name=name, engines=engines)
    activity.execute(
        "INSERT OR REPLACE INTO node_reports VALUES (?, ?, ?)", [name, at, said.model_dump_json()]
    )


def asked(activity: Database, at: float, name: str = "small", count: int = 1, node_id: str = "box") -> None:
    activity.table("ledger").insert_all(
        {
            "at": at, "request_id": f"{name}-{at}-{number}", "endpoint": "/v1/chat/completions",
            "model": name, "node": node_id, "attempts": 1, "tokens_in": 400, "tokens_out": 200,
            "queue_seconds": 0, "duration_seconds": 2, "outcome": "answered", "status": 200,
        }
        for number in range(count)
    )  # fmt: skip


def test_a_benchmark_is_kept_and_a_failed_one_only_as_tried(activity: Database) -> None:
    box = node("box", cpu())
    first = measured(box, SMALL, 10, predicted_alone=20, versions="1")
    record_measure(activity, first)
    record_measure(activity, measured(box, SMALL, 0, at=5.0), "somebody works at the machine")
    assert read_measures(activity) == (first,)
    assert last_failures(activity) == {("box", "small-gguf", "llama.cpp", "CPU"): (5.0, 1)}
    record_measure(activity, measured(box, SMALL, 11, at=6.0))
    assert last_failures(activity) == {}
    (line,) = predicted_against_measured([first])
    assert (line.predicted, line.measured, line.ratio) == (20, 10, 0.5)


def test_only_the_last_hundred_of_a_node_are_kept(activity: Database) -> None:
    for number in range(130):
        record_measure(activity, measured(node("box", cpu()), SMALL, 10, at=float(number)))
    record_measure(activity, measured(node("pc", cpu()), SMALL, 10))
    kept = read_measures(activity)
    assert [each.at for each in kept if each.node == "box"] == [float(each) for each in range(30, 130)]
    assert [each.at for each in kept if each.node == "pc"] == [1.0]


def test_pins_are_set_replaced_and_removed(cellule: Database) -> None:
    set_pin(cellule, Pin(node="box", model="small"), chosen_by=None)
    set_pin(cellule, Pin(node="box", model="small", never=True), chosen_by=None)
    set_pin(cellule, Pin(node="pc", model="small"), chosen_by=None)
    wishes = read_placement(cellule).wishes(0.0)
    assert set(wishes.pinned) == {("pc", "small")} and set(wishes.never) == {("box", "small")}
    for _ in range(2):
        remove_pin(cellule, "pc", "small", chosen_by=None)
    assert read_placement(cellule).wishes(0.0).pinned == frozenset()


def test_a_choice_out_of_range_changes_nothing(cellule: Database) -> None:
    choose_placement(cellule, least_tokens_per_second=5, chosen_by=None)
    with pytest.raises(ValidationError):
        choose_placement(cellule, least_tokens_per_second=-1, applying=Applying.ASK, chosen_by=None)
    choice = read_placement(cellule)
    assert (choice.applying, choice.least_tokens_per_second) == (Applying.AUTOMATICALLY, 5)


def test_copies_are_wished_until_they_are_left_to_the_plan(cellule: Database) -> None:
    wish_copies(cellule, "small", 2, chosen_by=None)
    assert read_placement(cellule).wishes(0.0).copies_of("small") == 2
    for copies in (-1, 1000):
        with pytest.raises(CopiesRefused):
            wish_copies(cellule, "small", copies, chosen_by=None)
    wish_copies(cellule, "small", 0, chosen_by=None)
    assert read_placement(cellule).copies == {}


def test_a_plan_is_applied_once_and_read_by_node(cellule: Database) -> None:
    found = plan([node("box", cpu())], [SMALL, DEMO], demand=[demand("small")])
    assert applied_engines(cellule, "box") == ()
    assert apply_plan(cellule, found, chosen_by=None)
    assert not apply_plan(cellule, found, chosen_by=None)
    (engine,) = applied_engines(cellule, "box")
    placed = found.placed[0]
    assert (engine.model, engine.digest, engine.slots) == ("small", "small-gguf", placed.slots)


def test_demand_is_the_busiest_hour_and_fades(activity: Database) -> None:
    asked(activity, NOW - 1800, count=10)
    asked(activity, NOW - 12.5 * 3600, count=40)
    asked(activity, NOW - 30 * 3600, count=4000)
    (found,) = demand_of_hours(activity, NOW)
    assert found.requests_per_hour == pytest.approx(10)
    assert found.answer_tokens_per_hour == pytest.approx(2000)
    asked(activity, NOW - 12.4 * 3600, count=10)
    (found,) = demand_of_hours(activity, NOW)
    assert found.requests_per_hour == pytest.approx(50 / 4)


def test_the_current_plan_is_made_of_what_the_databases_say(cellule: Database, activity: Database) -> None:
    for name in ("pc", "silent"):
        add_worker(cellule, name)
    report(activity, "pc", NOW - 2, busy=1, sha256="")
    report(activity, "silent", NOW - 700)
    asked(activity, NOW - 60, count=30)
    current = current_plan(cellule, activity, [SMALL, DEMO], PROFILES, BOX, at=NOW)
    assert [each.id for each in current.nodes] == ["box", "pc"], "who is silent can't be told anything"
    assert [(each.node, each.in_flight) for each in current.running] == [("pc", 1)]
    assert any(each.node == "box" and each.model == "small" for each in current.plan.placed)
    assert all(each.because for each in current.plan.changes)
    choose_placement(cellule, applying=Applying.ASK, chosen_by=None)
    current = current_plan(cellule, activity, [SMALL, DEMO], PROFILES, BOX, at=NOW)
    assert not apply_where_chosen(cellule, current), "the admin wants to be asked"
    choose_placement(cellule, applying=Applying.AUTOMATICALLY, chosen_by=None)
    current = current_plan(cellule, activity, [SMALL, DEMO], PROFILES, BOX, at=NOW)
    assert apply_where_chosen(cellule, current)
    assert applied_engines(cellule, "box")


def test_every_public_name_is_there() -> None:
    for name in appliance.placement.__all__:
        assert getattr(appliance.placement, name) is not None
