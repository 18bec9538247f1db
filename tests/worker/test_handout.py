"""Models on their way to PCs, all processes real: box, agents, tunnels, engines, each in its network."""

import hashlib
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.claim.certificate import certificate_pin
from appliance.enrolment import Worker
from appliance.enrolment.pinned import pinned_connection
from appliance.enrolment.wishes import set_wish, wish_for
from appliance.handout import HandoutChoice, HandoutTime
from appliance.handout.contract import PIECES_PATH, ModelProgress
from appliance.models.bundle import Bundle
from appliance.people import create_api_key
from appliance.settings import WORKER_ENGINE_PORT, WORKER_HANDOUT_PORT
from appliance.storage import write_choice
from tests.bench.random_model import TINY, random_model
from tests.waiting import wait_until
from tests.worker.handing_out import (
    has_come,
    progress,
    put_into_store,
    random_bundle,
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
    write_choice(office.db, HandoutChoice(keep_free_bytes=0, **changes), chosen_by=None)


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
            partial(has_come, office, joined[pc], bundle), within_seconds=60, what=f"{pc} has the model"
        )
    first, second = (progress(office, joined[pc], bundle) for pc in ("pc1", "pc2"))
    assert (first.from_box_bytes, first.from_workers_bytes) == (bundle.size_bytes, 0)
    assert second.from_box_bytes + second.from_workers_bytes == bundle.size_bytes
    assert second.from_workers_bytes > second.from_box_bytes
    for pc in ("pc1", "pc2"):
        wait_until(
            partial(engine_is_ready, office, joined[pc]),
            within_seconds=60,
            what="its engine is ready",
        )
    secret = create_api_key(office.db, "test", account_id=None).secret
    assert wait_until(
        partial(answer, office, secret, "handed-out"), within_seconds=45, what="the pool answers"
    )


def engine_is_ready(office: Office, worker: Worker) -> bool:
    return any(engine.ready for engine in report_of(office, worker).engines)


def answer(office: Office, secret: str, model: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(office.lab.address("box"), PORT, timeout=20, context=context)
    with office.lab.inside("client"):
        connection.connect()
    body = {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    told = response.read()
    connection.close()
    assert response.status == 200, told
    return str(json.loads(told)["choices"][0]["finish_reason"])


def test_a_model_with_other_files_beside_it_is_handed_out_and_loaded(
    office: Office, joined: dict[str, Worker], tmp_path: Path
) -> None:
    files: dict[str, bytes | Path] = {"README.md": b"# Random", "random.gguf": random_model(tmp_path, SHAPE)}
    bundle = put_into_store(office, files)
    wish_engine(office, joined["pc3"], "with-a-readme", bundle)
    wait_until(partial(engine_is_ready, office, joined["pc3"]), within_seconds=90, what="its engine is ready")
    assert has_come(office, joined["pc3"], bundle)
    wish_models(office, joined["pc3"])


def test_two_workers_that_are_linked_reach_each_others_pieces_and_nothing_else(
    office: Office, joined: dict[str, Worker]
) -> None:
    """While pc1 gives pieces to pc2; its engine listens, as the test before has left it."""
    bundle = on_pc1_alone(office, joined, 2 * MB)
    giver = str(joined["pc1"].tunnel_address)
    wish_models(office, joined["pc2"], bundle)
    wait_until(
        lambda: progress(office, joined["pc2"], bundle).from_workers_bytes > 0,
        within_seconds=45,
        what="pieces come from pc1",
    )
    assert reaches(office, "pc2", giver, WORKER_HANDOUT_PORT)
    assert not reaches(office, "pc2", giver, WORKER_ENGINE_PORT)
    assert not reaches(office, "pc3", giver, WORKER_HANDOUT_PORT)
    assert not reaches(office, "client", office.lab.address("pc1"), WORKER_HANDOUT_PORT)
    assert not reaches(office, "box", giver, WORKER_HANDOUT_PORT)
    assert not reaches(office, "pc1", str(joined["pc2"].tunnel_address), WORKER_ENGINE_PORT)
    choose(office)
    wait_until(partial(has_come, office, joined["pc2"], bundle), within_seconds=45, what="pc2 has it")
    assert progress(office, joined["pc2"], bundle).from_box_bytes < bundle.size_bytes / 2
    wait_until(
        lambda: not reaches(office, "pc2", giver, WORKER_HANDOUT_PORT),
        within_seconds=45,
        what="the link is gone when nothing is left to give",
    )


def on_pc1_alone(office: Office, joined: dict[str, Worker], size_bytes: int) -> Bundle:
    """A model that pc1 has, beside what its engine runs on, and gives slowly."""
    choose(office, send_bytes_per_second=200_000)
    bundle = random_bundle(office, size_bytes)
    wish = wish_for(office.db, joined["pc1"].id)
    assert wish is not None
    set_wish(office.db, joined["pc1"].id, wish.model_copy(update={"models": (bundle,)}))
    wait_until(partial(has_come, office, joined["pc1"], bundle), within_seconds=45, what="pc1 has it")
    return bundle


def test_a_worker_that_gives_wrong_pieces_is_left_alone_and_told(
    office: Office, joined: dict[str, Worker]
) -> None:
    bundle = on_pc1_alone(office, joined, 2 * MB)
    choose(office)
    blob = office.state_dir("pc1") / "models" / "blobs" / bundle.digest
    blob.write_bytes(bytes(bundle.size_bytes))
    wish_models(office, joined["pc3"], bundle)
    wait_until(partial(has_come, office, joined["pc3"], bundle), within_seconds=60, what="pc3 has it")
    told = progress(office, joined["pc3"], bundle)
    assert (told.from_box_bytes, told.from_workers_bytes) == (bundle.size_bytes, 0)
    assert report_of(office, joined["pc3"]).avoided == (IPv4Address(str(joined["pc1"].tunnel_address)),)
    kept = office.state_dir("pc3") / "models" / "bundles" / bundle.digest / "weights"
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == bundle.digest


def test_an_agent_that_is_killed_on_the_way_goes_on_where_it_was(
    office: Office, joined: dict[str, Worker]
) -> None:
    bundle = random_bundle(office, 3 * MB)
    choose(office, box_bytes_per_second=400_000)
    wish_models(office, joined["pc3"], bundle)
    before = wait_until(
        lambda: begun(progress(office, joined["pc3"], bundle)),
        within_seconds=60,
        what="a third of it is here",
    )
    office.agents["pc3"].kill()
    office.agents["pc3"].wait(5)
    # the disk lost a piece in the crash: it must be fetched again, not believed
    part = office.state_dir("pc3") / "models" / "partial" / bundle.digest
    first_piece_was_there = part.read_bytes()[:65536] != bytes(65536)
    with part.open("r+b") as file:
        file.write(b"x" * 65536)
    choose(office)
    office.start_agent("pc3", "run")
    wait_until(partial(has_come, office, joined["pc3"], bundle), within_seconds=60, what="pc3 has it")
    fetched = progress(office, joined["pc3"], bundle).from_box_bytes
    assert first_piece_was_there
    assert 0 < fetched <= bundle.size_bytes - before + 65536


def begun(progress: ModelProgress) -> int:
    return progress.have_bytes if progress.have_bytes > progress.total_bytes / 3 else 0


def test_office_hours_make_it_wait_and_the_worker_says_so(office: Office, joined: dict[str, Worker]) -> None:
    whole_day = ("00:00-24:00",) * 7
    choose(office, when=HandoutTime.OUTSIDE_OFFICE_HOURS, office_hours=whole_day)
    bundle = random_bundle(office, MB)
    wish_models(office, joined["pc3"], bundle)
    sentence = wait_until(
        lambda: progress(office, joined["pc3"], bundle).trouble, within_seconds=45, what="it says why"
    )
    assert "Office hours" in sentence
    status, told = asked(office, "pc3", f"{PIECES_PATH}{bundle.digest}/0")
    assert (status, json.loads(told)["error"]["code"]) == (503, "handout_paused")
    choose(office)
    wait_until(partial(has_come, office, joined["pc3"], bundle), within_seconds=45, what="pc3 has it")


def test_only_a_worker_that_should_have_a_model_is_given_its_pieces(
    office: Office, joined: dict[str, Worker]
) -> None:
    bundle = random_bundle(office, MB)
    wish_models(office, joined["pc3"], bundle)
    piece = f"{PIECES_PATH}{bundle.digest}/0"
    wait_until(lambda: asked(office, "pc3", piece)[0] == 200, within_seconds=5, what="pc3 may have it")
    assert len(asked(office, "pc3", piece)[1]) == 65536
    refusals = {
        "another worker": ("pc2", piece, 403),
        "no such piece": ("pc3", f"{PIECES_PATH}{bundle.digest}/99", 404),
        "no such path": ("pc3", f"{PIECES_PATH}../cellule.db", 404),
        "a file of the box": ("pc3", f"{PIECES_PATH}{'0' * 64}", 403),
    }
    told = {what: asked(office, pc, path)[0] for what, (pc, path, _status) in refusals.items()}
    assert told == {what: status for what, (*_, status) in refusals.items()}
    with office.lab.inside("client"):
        connection = pinned_connection((office.lab.address("box"), PORT), certificate_pin(office.settings))
    connection.request("GET", piece)
    assert connection.getresponse().status == 403
    connection.close()


def test_a_revoked_worker_gets_nothing_more(office: Office, joined: dict[str, Worker]) -> None:
    choose(office, box_bytes_per_second=100_000, send_bytes_per_second=100_000)
    bundle = random_bundle(office, 3 * MB)
    for pc in ("pc2", "pc3"):
        wish_models(office, joined[pc], bundle)
    wait_until(
        lambda: min(progress(office, joined[pc], bundle).have_bytes for pc in ("pc2", "pc3")) > 0,
        within_seconds=60,
        what="both have begun",
    )
    office.revoke(joined["pc3"])
    assert office.agents["pc3"].wait(40) == 3
    peer = str(joined["pc3"].public_key)
    wait_until(
        lambda: (
            peer not in office.lab.run("pc2", ["wg", "show", office.lab.tunnel_name("pc2"), "peers"]).stdout
        ),
        within_seconds=45,
        what="pc2 has no tunnel to it any more",
    )
    # what it had was taken away with its keys
    assert sorted(path.name for path in office.state_dir("pc3").iterdir()) == ["lock"]
