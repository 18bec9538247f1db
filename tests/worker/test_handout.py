"""Models on their way to PCs, all processes real: box, agents, tunnels, engines, each in its network."""

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from appliance.claim.certificate import certificate_pin
from appliance.enrolment import Worker
from appliance.enrolment.pinned import pinned_connection
from appliance.handout import HandoutChoice
from appliance.people import create_api_key
from appliance.storage import write_choice
from tests.bench.random_model import TINY, random_model
from tests.waiting import wait_until
from tests.worker.handing_out import (
    has_come,
    progress,
    put_into_store,
    report_of,
    wish_engine,
    wish_models,
)
from tests.worker.office import PORT, Office, open_office

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

MB = 1_000_000
SHAPE = replace(TINY, name="Random handed out", vocabulary=8192, width=256)
PCS = ("pc1", "pc2", "pc3")


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with open_office(*PCS) as office:
        choose(office)
        yield office


@pytest.fixture(scope="module")
def joined(office: Office) -> dict[str, Worker]:
    workers = {}
    for pc in PCS:
        workers[pc] = office.join(pc)
        # no engine until one is wished for: these tests are about files
        wish_models(office, workers[pc])
    return workers


def choose(office: Office, **changes: object) -> None:
    write_choice(office.db, HandoutChoice(keep_free_bytes=0, **changes), chosen_by=None)  # type: ignore[arg-type]


def asked(office: Office, pc: str, path: str) -> tuple[int, bytes]:
    """What the box's front answers a PC inside its tunnel."""
    with office.lab.inside(pc):
        connection = pinned_connection(("10.77.0.1", PORT), certificate_pin(office.settings))
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def reaches(office: Office, pc: str, address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        with office.lab.inside(pc):
            connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def test_a_model_comes_from_the_box_then_from_a_worker_and_answers_through_the_pool(
    office: Office, joined: dict[str, Worker], tmp_path: Path
) -> None:
    bundle = put_into_store(office, {"random.gguf": random_model(tmp_path, SHAPE)})
    for pc in ("pc1", "pc2"):
        wish_engine(office, joined[pc], "handed-out", bundle)
        wait_until(
            partial(has_come, office, joined[pc], bundle), within_seconds=40, what=f"{pc} has the model"
        )
    first, second = (progress(office, joined[pc], bundle) for pc in ("pc1", "pc2"))
    assert (first.from_box_bytes, first.from_workers_bytes) == (bundle.size_bytes, 0)
    assert second.from_box_bytes + second.from_workers_bytes == bundle.size_bytes
    assert second.from_workers_bytes > second.from_box_bytes
    for pc in ("pc1", "pc2"):
        wait_until(
            lambda pc=pc: report_of(office, joined[pc]).engines[0].ready,
            within_seconds=30,
            what="its engine is ready",
        )
    assert wait_until(partial(answer, office, "handed-out"), within_seconds=20, what="the pool answers")


def answer(office: Office, model: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(office.lab.address("box"), PORT, timeout=20, context=context)
    with office.lab.inside("client"):
        connection.connect()
    secret = create_api_key(office.db, "test", account_id=None).secret
    body = {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    told = response.read()
    connection.close()
    assert response.status == 200, told
    return str(json.loads(told)["choices"][0]["finish_reason"])
