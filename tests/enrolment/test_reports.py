"""A report counts for the worker whose tunnel it came through, and for nobody else."""

import http.client
import json
import ssl
import time

import orjson
import pytest

from appliance.enrolment import DesiredState, Worker, approve_worker, list_workers, revoke_worker
from appliance.enrolment.contract import REPORT_PATH, EngineReport, WorkerReport, WorkerState
from appliance.enrolment.pinned import BoxRefused, pinned_post
from appliance.settings import WORKER_ENGINE_PORT
from appliance.storage import open_activity
from tests.enrolment.conftest import FACTS, Box

TUNNEL = "127.0.0.77"
"""Stands for a tunnel address: a source address of loopback that a test may choose without root."""
REPORT = WorkerReport(
    name="pc-lab-3",
    agent_version="0.1.0",
    facts=FACTS,
    engines=(
        EngineReport(model="cellule-demo", port=WORKER_ENGINE_PORT, ready=True, slots=4, context_tokens=2048),
    ),
)


@pytest.fixture
def worker(box: Box) -> Worker:
    joined = box.join()
    approve_worker(box.db, joined.worker_id, approved_by=None)
    box.db.execute("UPDATE workers SET tunnel_address = ?", [TUNNEL])
    return list_workers(box.db)[0]


def send(box: Box, source: str, body: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """A report from the address `source`."""
    context = ssl.create_default_context(cadata=(box.settings.secrets_dir / "tls.crt").read_text())
    connection = http.client.HTTPSConnection(
        "127.0.0.1", box.settings.port, timeout=5, context=context, source_address=(source, 0)
    )
    connection.request("POST", REPORT_PATH, body, headers or {})
    response = connection.getresponse()
    answer = (response.status, response.read())
    connection.close()
    return answer


def reports(box: Box) -> list[dict[str, object]]:
    return list(open_activity(box.settings.state_dir)["node_reports"].rows)


def test_an_approved_worker_reports_and_learns_what_to_run(box: Box, worker: Worker) -> None:
    for _ in range(2):
        status, body = send(box, TUNNEL, REPORT.model_dump_json())
        assert status == 200
    desired = DesiredState.model_validate_json(body)
    assert desired.state is WorkerState.APPROVED
    assert [engine.model for engine in desired.engines] == ["cellule-demo"]
    assert desired.report_every_seconds == 5
    [row] = reports(box)
    assert row["node"] == worker.id
    assert isinstance(row["at"], float) and time.time() - row["at"] < 5
    assert WorkerReport.model_validate_json(str(row["report"])) == REPORT.model_copy(
        update={"name": worker.name}
    )


def test_a_worker_can_not_rename_itself_to_another(box: Box, worker: Worker) -> None:
    lie = REPORT.model_copy(update={"name": "the-gpu-station"})
    assert send(box, TUNNEL, lie.model_dump_json())[0] == 200
    [row] = reports(box)
    assert (row["node"], json.loads(str(row["report"]))["name"]) == (worker.id, worker.name)


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_a_report_from_elsewhere_is_refused_whatever_its_headers_say(
    box: Box, worker: Worker, header: str
) -> None:
    assert worker.tunnel_address == TUNNEL
    status, body = send(box, "127.0.0.1", REPORT.model_dump_json(), {header: TUNNEL})
    assert (status, orjson.loads(body)["error"]["code"]) == (403, "not_a_worker")
    with pytest.raises(BoxRefused) as refused:
        pinned_post(box.address, box.pin, REPORT_PATH, REPORT.model_dump_json())
    assert refused.value.status == 403
    assert reports(box) == []


def test_a_revoked_worker_is_told_and_no_longer_heard(box: Box, worker: Worker) -> None:
    revoke_worker(box.db, worker.id)
    status, body = send(box, TUNNEL, REPORT.model_dump_json())
    assert (status, orjson.loads(body)["state"], orjson.loads(body)["engines"]) == (200, "revoked", [])
    assert reports(box) == []


@pytest.mark.parametrize(
    "change",
    [
        {"engines": [{"model": "m", "port": 0, "ready": True, "slots": 1}]},
        {"engines": [{"model": "m", "port": 8000, "ready": True, "slots": -1}]},
        {"load": {"cpu_percent": 1e9}},
        {"name": "a\u0007b"},
        {"name": None},
    ],
)
def test_a_report_that_is_none_is_refused(box: Box, worker: Worker, change: dict[str, object]) -> None:
    assert worker
    status, body = send(box, TUNNEL, orjson.dumps(REPORT.model_dump(mode="json") | change).decode())
    assert (status, orjson.loads(body)["error"]["code"]) == (422, "message_refused")
    assert reports(box) == []
