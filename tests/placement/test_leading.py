"""Nodes are led to the plan, with real files and processes: what came, what is asked for, what must go."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.engines.spec import read_specs
from appliance.enrolment.contract import DesiredEngine
from appliance.enrolment.wishes import Wish, set_wish, wish_for
from appliance.hardware import MachineFacts, keep_hardware
from appliance.hardware.profile import EngineName
from appliance.host import this_machine
from appliance.jobs.health import recognise_box
from appliance.models import CarriedOrder, GetState, remove_model
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.held import demo_model
from appliance.models.making_way import read_making_way
from appliance.models.naming import load_names
from appliance.placement import (
    Applying,
    Pin,
    choose_placement,
    fleet,
    follow_plan,
    lead,
    nowhere,
    plan_of_box,
    read_placement,
    read_splits,
    remove_pin,
    set_pin,
    splitting,
    unload_model,
)
from appliance.placement.contract import Measured
from appliance.placement.memory import least_bytes, room_taken
from appliance.placement.needs import model_needs
from appliance.placement.sharding import WhyNot
from appliance.placement.splitting import split_models
from appliance.placement.store import record_measure
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, random_model
from tests.engines.test_tending import health
from tests.models.conftest import ModelBox
from tests.placement.fleets import cpu
from tests.waiting import wait_until

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"


@pytest.fixture
def box(settings: Settings) -> Iterator[ModelBox]:
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        recognise_box(settings)
        box = ModelBox(settings, this_machine(settings), db, activity)
        report(box, BOX_NODE, name="box", engines=[])
        yield box


@pytest.fixture
def tending(settings: Settings) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.engines.tending"], env=os.environ | settings.environment()
    )
    yield
    process.terminate()
    process.wait(20)


def bring(box: ModelBox, tmp_path: Path, name: str) -> None:
    """A real model by the way of a stick; each has weights of its own."""
    folder = tmp_path / name
    folder.mkdir()
    file = random_model(folder, TINY)
    carried = file.rename(folder / f"{name}.gguf")
    box.put_on_stick(carried)
    get = box.get(name, CarriedOrder(origin="stick", path=carried.name))
    assert get.state is GetState.DONE, get.sentence


def specs(box: ModelBox) -> set[str]:
    return set(read_specs(box.settings.engine_specs_dir)[0])


def report(box: ModelBox, node: str, **said: object) -> None:
    box.activity.table("node_reports").upsert(
        {"node": node, "at": now(), "report": json.dumps(said)}, pk="node"
    )


def running(box: ModelBox, name: str) -> dict[str, object]:
    """What the pool tells of the box's engine."""
    wait_until(lambda: health(box.settings, name).get("ready"), within_seconds=40, what=f"{name} is loaded")
    return health(box.settings, name)


def test_a_model_that_came_is_loaded_by_the_plan_and_let_go_when_it_must_not_be_here(
    box: ModelBox, tending: None, tmp_path: Path
) -> None:
    assert follow_plan(box.settings) == "" and lead(box.settings) == "", "nothing but the demo"
    bring(box, tmp_path, "noise")
    assert "applied a plan" in follow_plan(box.settings)
    assert "load noise" in lead(box.settings)
    said = running(box, "noise")
    assert said["sha256"] == box.model("noise").digest
    report(box, BOX_NODE, name="box", engines=[said])
    assert lead(box.settings) == "", "it runs as it should"
    set_pin(box.db, Pin(node=BOX_NODE, model="noise", never=True), chosen_by=None)
    follow_plan(box.settings)
    report(box, BOX_NODE, name="box", engines=[said | {"busy": 1}])
    assert lead(box.settings) == "" and specs(box) == {"noise"}, "an answer is not broken off"


def test_a_gguf_that_openvino_was_measured_to_serve_faster_is_served_by_it(
    box: ModelBox, tending: None, tmp_path: Path
) -> None:
    bring(box, tmp_path, "noise")
    digest = box.model("noise").digest
    for engine, speed in ((EngineName.LLAMA_CPP, 100.0), (EngineName.OPENVINO, 400.0)):
        measured = Measured(BOX_NODE, "noise", digest, engine, "CPU", "", 9 * speed, speed, speed, 1, now())
        record_measure(box.activity, measured)
    follow_plan(box.settings)
    lead(box.settings)
    said = running(box, "noise")
    assert (said["engine"], said["sha256"]) == ("openvino", digest)
    report(box, BOX_NODE, name="box", engines=[said])
    assert lead(box.settings) == "", "it runs as it should"


def test_what_an_admin_unloads_goes_after_its_answers_and_comes_back_for_who_asks(
    box: ModelBox, tending: None, tmp_path: Path
) -> None:
    bring(box, tmp_path, "noise")
    follow_plan(box.settings)
    lead(box.settings)
    said = running(box, "noise")
    report(box, BOX_NODE, name="box", engines=[said | {"busy": 1}])
    unload_model(box.db, BOX_NODE, "noise", at=now(), chosen_by=None)
    assert lead(box.settings) == "" and specs(box) == {"noise"}, "an answer is not broken off"
    report(box, BOX_NODE, name="box", engines=[said])
    assert "An admin keeps it off this node" in lead(box.settings) and specs(box) == set()
    socket = box.settings.engine_socket("noise")
    wait_until(lambda: not socket.exists(), within_seconds=20, what="the engine has ended")
    report(box, BOX_NODE, name="box", engines=[])
    follow_plan(box.settings)
    assert lead(box.settings) == "" and specs(box) == set(), "no plan brings it back"
    report(box, "pool", queue_length=1, waiting={"noise": 1})
    assert "load noise" in lead(box.settings)
    assert running(box, "noise")["ready"]
    report(box, "pool", queue_length=0, waiting={})
    assert not read_placement(box.db).unloaded


def test_where_the_admin_wants_to_be_asked_a_model_is_loaded_when_somebody_waits_for_it(
    box: ModelBox, tending: None, tmp_path: Path
) -> None:
    choose_placement(box.db, applying=Applying.ASK, chosen_by=None)
    bring(box, tmp_path, "noise")
    follow_plan(box.settings)
    lead(box.settings)
    assert specs(box) == set()
    report(box, "pool", queue_length=1, waiting={"noise": 1, "unheard-of": 3})
    assert "1 requests wait for it" in lead(box.settings)
    said = running(box, "noise")
    report(box, "pool", queue_length=0, waiting={})
    report(box, BOX_NODE, name="box", engines=[said])
    lead(box.settings)
    assert specs(box) == {"noise"}, "it stays for a while after its last answer"


def test_the_pool_is_told_which_engine_makes_way_and_that_it_need_not_any_more(
    box: ModelBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for one: both models need all that this machine gives."""
    for name in ("noise", "other"):
        bring(box, tmp_path, name)
    monkeypatch.setattr(fleet, "_WAITED_FOR", {"other": (now() - 60, now())})
    monkeypatch.setattr(fleet, "_READY_SINCE", {(BOX_NODE, "noise"): now() - 90})
    need = model_needs([box.model("noise")])[0]
    one = room_taken(need, need.files[0], need.context_tokens, 1).memory_bytes
    (demo,) = model_needs([demo_model()])
    demos = room_taken(demo, demo.files[0], demo.context_tokens, 8).memory_bytes
    way = replace(cpu(), memory_bytes=int(one * 1.5) + demos, parallel=1)
    monkeypatch.setattr(fleet, "_ways", lambda *_: (way,))
    said = {"model": "noise", "ready": True, "slots": 1, "context_tokens": need.context_tokens, "busy": 3}
    report(box, BOX_NODE, name="box", engines=[said | {"sha256": box.model("noise").digest}])
    report(box, "pool", queue_length=1, waiting={"other": 1})
    lead(box.settings)
    assert read_making_way(box.db) == {(BOX_NODE, "noise")}
    report(box, "pool", queue_length=0, waiting={})
    lead(box.settings)
    assert not read_making_way(box.db)


def test_the_box_s_demo_keeps_its_memory_by_the_plan_and_for_who_waits(
    box: ModelBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(box, tmp_path, "noise")
    needs = model_needs([demo_model(), box.model("noise")])
    demos = room_taken(needs[0], needs[0].files[0], needs[0].context_tokens, 8).memory_bytes
    needed = least_bytes(needs[1], needs[1].files[0])
    report(box, "pool", queue_length=1, waiting={"noise": 1})
    for spare, loaded in ((-1, set()), (0, {"noise"})):
        way = replace(cpu(), memory_bytes=demos + needed + spare, parallel=1)
        monkeypatch.setattr(fleet, "_ways", lambda *_, way=way: (way,))
        lead(box.settings)
        assert specs(box) == loaded
        placed = plan_of_box(box.settings, box.db, box.activity).plan.placed
        assert {each.model for each in placed if each.node == BOX_NODE} - {needs[0].name} == loaded


def test_the_pool_is_told_of_a_model_that_must_run_nowhere_but_not_of_one_that_was_unloaded(
    box: ModelBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nowhere, "TOLD_AFTER_SECONDS", 0.0)
    bring(box, tmp_path, "noise")
    unload_model(box.db, BOX_NODE, "noise", at=now(), chosen_by=None)
    lead(box.settings)
    assert load_names(box.db).unloadable == {}, "who asks gets it again"
    set_pin(box.db, Pin(node=BOX_NODE, model="noise", never=True), chosen_by=None)
    lead(box.settings)
    assert "an admin keeps it off box" in load_names(box.db).unloadable["noise"]
    remove_pin(box.db, BOX_NODE, "noise", chosen_by=None)
    lead(box.settings)
    assert load_names(box.db).unloadable == {}


def test_a_model_that_an_admin_keeps_off_the_box_is_not_split_either(
    box: ModelBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although a worker could lend: the head would run on the box."""
    monkeypatch.setattr(splitting, "HOMELESS_SECONDS", 0.0)
    bring(box, tmp_path, "noise")
    set_pin(box.db, Pin(node=BOX_NODE, model="noise", never=True), chosen_by=None)
    split_models(box.settings)
    (unsplit,) = read_splits(box.db).unsplit
    assert unsplit.refused and unsplit.refused.why is WhyNot.HEAD_RULED_OUT


def a_worker(box: ModelBox) -> None:
    """A PC that has joined."""
    box.db.table("invitations").insert({"id": "i", "label": "pc", "created_at": 1, "expires_at": 2})
    facts = {"name": "pc", "cpu": "Intel(R) Core(TM) i5-8500", "cores": 6, "memory_bytes": 16 << 30}
    worker: dict[str, object] = {"id": "pc", "name": "pc", "public_key": "k", "invitation_id": "i"}
    worker |= {"state": "approved"}
    worker |= {"short_code": "1", "poll_key": b"k", "facts": json.dumps(facts), "created_at": 1.0}
    box.db.table("workers").insert(worker)


def test_what_a_worker_still_answers_with_keeps_its_profiles_settings_though_no_wish_is_left(
    box: ModelBox, tmp_path: Path
) -> None:
    a_worker(box)
    station = MachineFacts.model_validate_json((MACHINES / "rtx-a6000-cad-station.json").read_text())
    keep_hardware(box.activity, "pc", station, now())
    bring(box, tmp_path, "noise")
    engine = {"model": "noise", "ready": True, "slots": 2, "context_tokens": 256, "busy": 1}
    engine |= {"engine": "llama.cpp", "device": "cuda", "sha256": box.model("noise").digest}
    report(box, "pc", name="pc", engines=[engine])
    lead(box.settings)
    wish = wish_for(box.db, "pc")
    assert wish
    [kept] = [engine for engine in wish.engines if engine.model == "noise"]
    assert (kept.device, kept.settings) == ("cuda", {"n_gpu_layers": 999})


def test_a_worker_is_told_of_files_engine_and_settings_and_again_nothing_once_they_are_gone(
    box: ModelBox, tmp_path: Path
) -> None:
    a_worker(box)
    report(box, "pc", name="pc", engines=[{"model": "cellule-demo", "ready": True, "slots": 4, "demo": True}])
    bring(box, tmp_path, "noise")
    set_pin(box.db, Pin(node="pc", model="noise"), chosen_by=None)
    follow_plan(box.settings)
    lead(box.settings)
    wish = wish_for(box.db, "pc")
    assert wish
    by_model = {engine.model: engine for engine in wish.engines}
    assert by_model["noise"].bundle == box.model("noise").bundle
    assert by_model["cellule-demo"].bundle is None, "until noise is ready the demo answers"
    choose_placement(box.db, applying=Applying.ASK, chosen_by=None)
    box.db.execute("DELETE FROM choices")
    remove_model(box.settings, box.db, box.activity, "noise", by=None)
    lead(box.settings)
    assert wish_for(box.db, "pc") is None


def test_what_somebody_started_by_hand_is_left_alone(box: ModelBox, tmp_path: Path) -> None:
    bring(box, tmp_path, "noise")
    report(box, BOX_NODE, name="box", engines=[{"model": "by-hand", "ready": True, "slots": 2}])
    follow_plan(box.settings)
    lead(box.settings)
    assert specs(box) == {"noise"}


def test_a_wish_for_files_that_are_gone_is_dropped(box: ModelBox) -> None:
    gone = Bundle(format=ModelFormat.GGUF, files=(BundleFile(path="x.gguf", size_bytes=1, sha256="0" * 64),))
    set_wish(box.db, "pc", Wish(engines=(DesiredEngine(model="x", slots=1, bundle=gone),)))
    lead(box.settings)
    assert wish_for(box.db, "pc") is None
