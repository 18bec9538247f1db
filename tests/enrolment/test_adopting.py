"""From what a worker found on its machine to the engine that the box tells it to run before it."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlite_utils import Database

from appliance.accounting.nodes import node_overviews
from appliance.clock import now
from appliance.engines.adopted.target import read_settings
from appliance.enrolment import (
    DesiredState,
    Worker,
    adopt_server,
    approve_worker,
    found_servers,
    list_workers,
    release_server,
)
from appliance.enrolment.adopting import NotForAdoption, ServerNotFound, adopted_engines
from appliance.enrolment.contract import DesiredEngine, EngineReport, FoundServer, WorkerReport
from appliance.enrolment.rules import desired_state
from appliance.enrolment.wishes import Wish
from appliance.hardware.profile import EngineName
from appliance.storage import open_activity
from tests.enrolment.conftest import Box
from tests.enrolment.test_reports import TUNNEL, send

VLLM = {
    "kind": "vllm",
    "port": 8000,
    "models": [{"id": "Qwen/Qwen3-30B-A3B", "context_tokens": 32768}],
}
OLLAMA = {
    "kind": "ollama",
    "port": 11434,
    "models": [{"id": "llama3.2:latest"}, {"id": "nomic-embed-text:latest", "is_embedding": True}],
}
KEYED = {"kind": "other", "port": 1234, "needs_key": True}


@pytest.fixture
def worker(box: Box) -> Worker:
    """It reports three servers of its owner."""
    joined = box.join()
    approve_worker(box.db, joined.worker_id, approved_by=None)
    box.db.execute("UPDATE workers SET tunnel_address = ?", [TUNNEL])
    assert report(box)
    return list_workers(box.db)[0]


@pytest.fixture
def activity(box: Box) -> Iterator[Database]:
    db = open_activity(box.settings.state_dir)
    yield db
    db.close()


def report(box: Box, *engines: EngineReport) -> DesiredState:
    servers = tuple(FoundServer.model_validate(one) for one in (VLLM, OLLAMA, KEYED))
    told = WorkerReport(name="station", found_servers=servers, engines=engines)
    status, body = send(box, TUNNEL, told.model_dump_json())
    assert status == 200
    return DesiredState.model_validate_json(body)


def test_what_a_worker_found_is_known_while_it_reports(box: Box, worker: Worker, activity: Database) -> None:
    assert [server.port for server in found_servers(activity, worker.id)] == [8000, 11434, 1234]
    assert found_servers(activity, "nobody") == ()
    activity.execute("UPDATE node_reports SET at = at - 60")
    assert found_servers(activity, worker.id) == ()


def test_an_adopted_server_is_told_to_its_worker_and_adopted_anew_by_the_next_number(
    box: Box, worker: Worker, activity: Database
) -> None:
    def adopt() -> DesiredEngine:
        adopt_server(box.db, activity, worker.id, port=8000, model="Qwen/Qwen3-30B-A3B", name="qwen3-30b-a3b")
        return next(one for one in report(box).engines if one.engine is EngineName.ADOPTED)

    engine = adopt()
    assert engine.model == "qwen3-30b-a3b" and engine.bundle is None and engine.slots == 8
    settings = read_settings(engine.settings)  # what the engine process makes of them
    assert (settings.url, settings.model) == ("http://127.0.0.1:8000", "Qwen/Qwen3-30B-A3B")
    assert (settings.expects, settings.adoption) == ("blue", "1")
    assert read_settings(adopt().settings).adoption == "2"
    release_server(box.db, worker.id, "qwen3-30b-a3b")
    assert [one.model for one in report(box).engines] == ["cellule-demo"]


def test_it_takes_the_place_of_a_wished_engine_of_its_name(
    box: Box, worker: Worker, activity: Database
) -> None:
    adopt_server(box.db, activity, worker.id, port=11434, model="llama3.2:latest", name="small")
    wish = Wish(engines=(DesiredEngine(model="small", slots=1), DesiredEngine(model="other", slots=1)))
    engines = desired_state(worker, wish, adopted_engines(box.db, worker.id)).engines
    assert [(one.model, one.engine) for one in engines] == [
        ("other", EngineName.LLAMA_CPP),
        ("small", EngineName.ADOPTED),
    ]


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"port": 9999, "model": "m", "name": "m"}, ServerNotFound),
    ({"port": 8000, "model": "another", "name": "m"}, ServerNotFound),
    ({"port": 11434, "model": "nomic-embed-text:latest", "name": "m"}, NotForAdoption),
    ({"port": 1234, "model": "m", "name": "m"}, NotForAdoption),
    ({"port": 8000, "model": "Qwen/Qwen3-30B-A3B", "name": "Qwen/Qwen3-30B-A3B"}, NotForAdoption),
    ({"port": 8000, "model": "Qwen/Qwen3-30B-A3B", "name": "--model"}, NotForAdoption),
]


@pytest.mark.parametrize(("asked", "refusal"), WRONG)
def test_what_can_not_be_adopted_is_refused_and_changes_nothing(
    box: Box, worker: Worker, activity: Database, asked: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        adopt_server(box.db, activity, worker.id, **asked)
    assert adopted_engines(box.db, worker.id) == ()


def test_a_key_is_a_file_on_the_worker(box: Box, worker: Worker, activity: Database) -> None:
    adopt_server(box.db, activity, worker.id, port=1234, model="m", name="m", key_file="/etc/keys/house")
    [engine] = adopted_engines(box.db, worker.id)
    assert str(read_settings(engine.settings).key_file) == "/etc/keys/house"


def test_the_overview_knows_why_an_engine_is_not_ready(box: Box, worker: Worker, activity: Database) -> None:
    trouble = "Nothing listens at 127.0.0.1:8000: the server is not running."
    engine = EngineReport(
        model="m", port=8000, ready=False, slots=1, engine=EngineName.ADOPTED, trouble=trouble
    )
    report(box, engine)
    nodes = {one.id: one for one in node_overviews(activity, {worker.id: worker.name}, now())}
    assert nodes[worker.id].engines[0].trouble == trouble
