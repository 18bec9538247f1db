"""A model split between the box and a worker through their real tunnel: asked, attacked, and broken.

The box is the head; every client asks the pool on the LAN, over TLS, with a key.
"""

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from appliance.engines.endings import PART_LOST_STATUS
from appliance.engines.sharding.parts import PartAddress
from appliance.engines.sharding.status import PartSilent, PartStatus, ask_part
from appliance.engines.sharding.weights import read_weights
from appliance.engines.spec import EngineSpec, write_specs
from appliance.enrolment import Worker
from appliance.enrolment.contract import DesiredEngine, PartReport, WorkerReport
from appliance.enrolment.wishes import Wish, set_wish
from appliance.people import create_api_key
from appliance.placement.sharding import SplitPlan, plan_after_loss
from appliance.placement.split_cost import SplitModel, SplitNode, whole_bytes
from appliance.placement.split_orders import lost_parts, order_parts
from appliance.settings import WORKER_PART_PORT, WORKER_PART_PORTS
from tests.bench.random_model import Shape, random_model
from tests.netlab import settings_environment
from tests.waiting import wait_until
from tests.worker.office import PORT, Office, open_office

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

SHAPE = Shape("Random split", 1024, 256, 512, 6, 4, 2, head_width=64, context_tokens=2048)
SPLIT, WHOLE = "split-model", "whole-model"
KV_TOKENS = 2048
STACK_BYTES = 9 * 1024 * 1024
"""Of a thread that computes: it counts as used."""


@dataclass
class Town:
    """The office, two workers in it, and a model that runs in two forms on the box."""

    office: Office
    model: Path
    workers: dict[str, Worker]
    secret: str
    tending: Popen[bytes]

    def tunnel(self, pc: str) -> str:
        address = self.workers[pc].tunnel_address
        assert address is not None
        return address

    def part(self, pc: str) -> PartAddress:
        return PartAddress(IPv4Address(self.tunnel(pc)), WORKER_PART_PORT)

    def part_status(self, pc: str) -> PartStatus:
        """Asked as the head asks it: from the box, through the tunnel."""
        with self.office.lab.inside("box"):
            return ask_part(self.part(pc), 2)

    def has_part(self, pc: str) -> bool:
        try:
            return self.part_status(pc).ready
        except PartSilent:
            return False

    def run_engine(self, name: str, **settings: Any) -> None:
        """Writes what the box should run; its engines are tended by a process of their own."""
        spec = EngineSpec(name=name, model_file=self.model, slots=1, kv_tokens=KV_TOKENS, settings=settings)
        box = self.office.settings
        folder = box.split_specs_dir if name == SPLIT else box.engine_specs_dir
        write_specs(folder, {name: spec})

    def told_of_engines(self) -> str:
        return self.office.lab.log(self.tending)

    def ask(self, model: str, prompt: list[int], **parameters: Any) -> http.client.HTTPResponse:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            self.office.lab.address("box"), PORT, timeout=30, context=context
        )
        with self.office.lab.inside("client"):
            connection.connect()
        body = {"model": model, "prompt": prompt, "temperature": 0, "ignore_eos": True, **parameters}
        headers = {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        return connection.getresponse()

    def text(self, model: str, prompt: list[int]) -> str:
        answer = self.ask(model, prompt, max_tokens=48)
        body = json.loads(answer.read())
        assert answer.status == 200, body
        return str(body["choices"][0]["text"])

    def answers(self, model: str) -> bool:
        return self.ask(model, [5], max_tokens=1).status == 200

    def reaches(self, name: str, address: str, port: int) -> bool:
        try:
            with self.office.lab.inside(name):
                socket.create_connection((address, port), timeout=0.7).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    model = random_model(tmp_path_factory.mktemp("models"), SHAPE)
    with open_office("pc1", "pc2") as office:
        workers = {pc: office.join(pc) for pc in ("pc1", "pc2")}
        secret = create_api_key(office.db, "test", account_id=None).secret
        argv = [sys.executable, "-m", "appliance.engines.tending"]
        tending = office.lab.popen("box", argv, settings_environment(office.settings))
        town = Town(office, model, workers, secret, tending)
        for worker in workers.values():
            # the machine has enough to do
            set_wish(office.db, worker.id, Wish())
        town.run_engine(WHOLE, repack=False)
        carry_out(town, planned(town, lost=("pc2",)))
        wait_until(partial(town.answers, WHOLE), within_seconds=30, what="the whole model answers")
        yield town


def planned(town: Town, lost: tuple[str, ...] = ()) -> SplitPlan:
    """For a box that has room for the vocabulary and two layers; each PC would have room for all layers, but
    not for the vocabulary beside them.
    """
    model = SplitModel(SPLIT, read_weights(town.model), KV_TOKENS)
    each = model.weights.layer_bytes[0] + KV_TOKENS * model.weights.kv_bytes_per_layer_token
    head = SplitNode("box", "box", whole_bytes(model) - 4 * each, 2e9)
    pcs = [SplitNode(pc, pc, whole_bytes(model) - 1, 1e9, 0.001, 1e8) for pc in town.workers]
    plan = plan_after_loss(model, head, pcs, lost, alternative=None, least_tokens_per_second=7)
    assert isinstance(plan, SplitPlan), plan
    return plan


def carry_out(town: Town, plan: SplitPlan) -> None:
    """Tells each worker what to lend, then has the head started."""
    order_parts(town.office.db, ids(town), [named(plan, town)])
    for part in plan.parts:
        wait_until(partial(town.has_part, part.node), within_seconds=30, what=f"{part.node} lends memory")
    addresses = {pc: IPv4Address(town.tunnel(pc)) for pc in town.workers}
    town.run_engine(SPLIT, parts=plan.setting(addresses))
    wait_until(partial(town.answers, SPLIT), within_seconds=40, what="the split model answers")


def ids(town: Town) -> list[str]:
    return [worker.id for worker in town.workers.values()]


def named(plan: SplitPlan, town: Town) -> SplitPlan:
    """With the workers' ids for the names that the tests plan with."""
    return replace(plan, parts=tuple(replace(part, node=town.workers[part.node].id) for part in plan.parts))


def part_process(town: Town, pc: str) -> psutil.Process:
    agent = psutil.Process(town.office.agents[pc].pid)
    (part,) = (one for one in agent.children() if "appliance.engines.sharding" in one.cmdline())
    return part


def test_the_plan_is_what_runs(town: Town) -> None:
    plan = planned(town, lost=("pc2",))
    assert [(part.node, part.layers) for part in plan.parts] == [("pc1", 4)]
    assert plan.head_layers == 2
    status = town.part_status("pc1")
    assert status.memory_bytes == plan.parts[0].memory_bytes
    assert 0 < status.used_bytes <= status.memory_bytes + STACK_BYTES
    assert status.used_by == "10.77.0.1"


def test_split_through_the_tunnel_it_makes_the_tokens_of_the_whole(town: Town) -> None:
    for prompt in ([7, 300, 41], list(range(260, 330))):
        assert town.text(SPLIT, prompt) == town.text(WHOLE, prompt)


def test_the_worker_reports_its_part(town: Town) -> None:
    def reported() -> PartReport | None:
        row = town.office.report_of(town.workers["pc1"])
        assert row is not None
        part = WorkerReport.model_validate_json(str(row["report"])).part
        return part if part and part.used_by else None

    part = wait_until(reported, within_seconds=15, what="the report tells the part and its head")
    assert part.ready and part.port == WORKER_PART_PORT and part.device.startswith("CPU")
    assert part.used_by == "10.77.0.1" and part.used_bytes > 0


def test_a_part_is_neither_root_nor_able_to_become_it(town: Town) -> None:
    status = Path(f"/proc/{part_process(town, 'pc1').pid}/status").read_text()
    assert part_process(town, "pc1").uids().effective != 0
    assert "NoNewPrivs:\t1" in status


def test_only_the_box_reaches_a_part(town: Town) -> None:
    """The protocol has no password: whoever reached it could read and change what is computed."""
    lab, tunnel = town.office.lab, town.tunnel("pc1")
    for port in WORKER_PART_PORTS:
        assert town.reaches("box", tunnel, port)
        assert not town.reaches("client", lab.address("pc1"), port)
        for name in ("client", "pc2"):
            assert not town.reaches(name, tunnel, port)
            # by the LAN to the tunnel address, and through the box
            for way in ("pc1", "box"):
                lab.run(name, ["ip", "route", "replace", f"{tunnel}/32", "via", lab.address(way)])
                assert not town.reaches(name, tunnel, port)
                lab.run(name, ["ip", "route", "del", f"{tunnel}/32", "via", lab.address(way)])
    assert town.part_status("pc1").used_by == "10.77.0.1"


def test_a_part_lost_in_the_middle_of_an_answer_is_told_and_comes_back(town: Town) -> None:
    expected = town.text(WHOLE, [7, 300, 41])
    answer = town.ask(SPLIT, [5], max_tokens=1900, stream=True)
    assert answer.status == 200 and answer.readline().startswith(b"data: ")
    part_process(town, "pc1").kill()
    last = json.loads(answer.read().split(b"data: ")[-1])
    assert last["error"]["code"] == "answer_interrupted"
    assert "The answer broke off" in last["error"]["message"]
    told = f"engine {SPLIT} ended: It ended with status {PART_LOST_STATUS}"
    wait_until(lambda: told in town.told_of_engines(), within_seconds=15, what="the head's end is told")
    assert f"The part on {town.part('pc1')} is lost" in town.told_of_engines()
    assert "Traceback" not in town.told_of_engines()
    # the worker starts its part again, the box its head, and the head fills the part anew
    wait_until(partial(town.answers, SPLIT), within_seconds=40, what="the split model answers again")
    assert town.text(SPLIT, [7, 300, 41]) == expected


def test_a_worker_lost_for_good_means_another_plan(town: Town) -> None:
    expected = town.text(WHOLE, [7, 300, 41])
    before = planned(town, lost=("pc2",))
    town.office.lab.stop(town.office.agents["pc1"])
    wait_until(lambda: not town.has_part("pc1"), within_seconds=10, what="the part is gone")
    assert lost_parts(before, {"pc2": None}) == ("pc1",)
    plan = planned(town, lost=("pc1",))
    assert plan.reasons[0] == "The part on pc1 is lost."
    carry_out(town, plan)
    assert town.text(SPLIT, [7, 300, 41]) == expected
    town.office.start_agent("pc1", "run")
    wait_until(partial(town.office.pings, "box", town.tunnel("pc1")), within_seconds=20, what="pc1 is back")
    assert not town.has_part("pc1")


def test_whole_answers_go_elsewhere_when_a_part_is_lost(town: Town) -> None:
    """pc1 has the model in one piece: both nodes get a request, and nobody hears of the loss."""
    folder = town.office.state_dir("pc1") / "models"
    folder.mkdir(exist_ok=True)
    (folder / f"{SPLIT}.gguf").write_bytes(town.model.read_bytes())
    engine = DesiredEngine(model=SPLIT, slots=1)
    set_wish(town.office.db, town.workers["pc1"].id, Wish(engines=(engine,)))
    wait_until(partial(has_engine, town, "pc1"), within_seconds=40, what="pc1 has the model in one piece")
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(town.ask, SPLIT, [5], max_tokens=1500) for _ in range(2)]
        wait_until(partial(is_busy, town), within_seconds=15, what="the split model is answering")
        part_process(town, "pc2").kill()
        answers = [each.result(60) for each in asked]
    assert [answer.status for answer in answers] == [200, 200]
    # the one that was broken off is answered by pc1, or by the box again, whichever is free first
    assert town.workers["pc1"].name in {answer.getheader("x-cellule-node") for answer in answers}
    assert f"The part on {town.part('pc2')} is lost" in town.told_of_engines()


def has_engine(town: Town, pc: str) -> bool:
    row = town.office.report_of(town.workers[pc])
    assert row is not None
    engines = WorkerReport.model_validate_json(str(row["report"])).engines
    return any(engine.model == SPLIT and engine.ready for engine in engines)


def is_busy(town: Town) -> bool:
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(str(town.office.settings.engine_socket(SPLIT)))
        connection.sendall(b"GET /health/ready HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
        return b'"busy":1' in b"".join(iter(lambda: connection.recv(65536), b""))
