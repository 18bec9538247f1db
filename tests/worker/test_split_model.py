"""A model split between the box and a worker through their real tunnel: decided, asked, attacked, and broken.

The box is the head; every client asks the pool on the LAN, over TLS, with a key. Nobody here carries out a
split: the core finds that the model fits no machine, for a profile of the customer's lets models have little
of each machine's memory.
"""

import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from appliance.clock import now
from appliance.engines.endings import PART_LOST_STATUS
from appliance.engines.sharding.parts import PartAddress
from appliance.engines.sharding.sizes import passing_bytes
from appliance.engines.sharding.status import PartSilent, PartStatus, ask_part
from appliance.engines.sharding.weights import read_weights
from appliance.engines.spec import EngineSpec
from appliance.enrolment import Worker
from appliance.enrolment.contract import PartReport, WorkerReport
from appliance.hardware import gather
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.demo import DEMO_MODEL_NAME, DEMO_MODEL_PATH
from appliance.models.held import HeldModel, add_held
from appliance.models.layout import blob_path, engine_path
from appliance.models.reading import read_facts
from appliance.people import create_api_key
from appliance.placement import Pin, SplitWish, plan_of_box, remove_pin, set_pin, wish_split
from appliance.placement.split_cost import SplitModel, whole_bytes
from appliance.placement.splits import Split, lending_way, read_splits
from appliance.settings import WORKER_PART_PORT, WORKER_PART_PORTS
from tests.bench.random_model import Shape, random_model
from tests.netlab import settings_environment
from tests.waiting import wait_until
from tests.worker.office import PORT, Office, open_office

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

SHAPE = Shape("Random split", 1024, 256, 512, 48, 4, 2, head_width=64, context_tokens=2048)
"""So many layers that a machine with room for half of them beside the demo has not enough for all instead of
the demo."""
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
        environment = settings_environment(office.settings)
        tending = office.lab.popen("box", [sys.executable, "-m", "appliance.engines.tending"], environment)
        for argv in (demo_engine(office), whole_engine(office, model)):
            office.lab.popen("box", argv, environment)
        town = Town(office, model, workers, secret, tending)
        # so that the first one is known
        set_pin(office.db, Pin(node=workers["pc2"].id, model=SPLIT, never=True), chosen_by=None)
        leave_little_memory(town)
        hold(town)
        wait_until(lambda: splits(town), within_seconds=60, what="the core splits the model")
        wait_until(partial(town.answers, SPLIT), within_seconds=60, what="the split model answers")
        wait_until(partial(town.answers, WHOLE), within_seconds=30, what="the whole model answers")
        yield town


def demo_engine(office: Office) -> list[str]:
    """The box's own demo, smaller than it is: it takes its memory of what a plan may give away."""
    listen = f"unix:{office.settings.engine_socket(DEMO_MODEL_NAME)}"
    argv = [sys.executable, "-m", "appliance.engines", "--model", str(DEMO_MODEL_PATH), "--slots", "1"]
    return [*argv, "--name", DEMO_MODEL_NAME, "--listen", listen]


def whole_engine(office: Office, model: Path) -> list[str]:
    """The same model in one piece, which is nothing that the box holds."""
    spec = EngineSpec(name=WHOLE, model_file=model, slots=1, kv_tokens=KV_TOKENS, settings={"repack": False})
    listen = f"unix:{office.settings.engine_socket(WHOLE)}"
    return [sys.executable, "-m", "appliance.engines", *spec.arguments(), "--listen", listen]


def leave_little_memory(town: Town) -> None:
    """Each machine has room for the box's demo, and beside it for a little more than half of the model."""
    weights = read_weights(town.model)
    layer = weights.layer_bytes[0] + KV_TOKENS * weights.kv_bytes_per_layer_token
    room = passing_bytes(weights, KV_TOKENS) + weights.other_bytes + (SHAPE.layers // 2 + 2) * layer
    whole = whole_bytes(SplitModel(SPLIT, weights, KV_TOKENS))
    demo = wait_until(
        lambda: (taken := taken_by_demo(town)) + room < whole and taken,
        within_seconds=30,
        what="the box's demo says how small it is",
    )
    write_profile(town, demo + room)


def taken_by_demo(town: Town) -> int:
    """Of the box's memory, before any plan."""
    memory_bytes = 4 << 30
    write_profile(town, memory_bytes)
    nodes = plan_of_box(town.office.settings, town.office.db, town.office.activity).nodes
    way = next(way for node in nodes if node.is_box and (way := lending_way(node)))
    return memory_bytes - way.memory_bytes


def write_profile(town: Town, memory_bytes: int) -> None:
    folder = town.office.settings.state_dir / "hwprofiles"
    folder.mkdir(exist_ok=True)
    reserve_gib = (gather().memory_bytes - memory_bytes) / (1 << 30)
    shipped = (Path(__file__).parents[2] / "hwprofiles" / "cpu-x86.toml").read_text()
    changed = shipped.replace("share = 0.5\nreserve_gib = 2", f"share = 1\nreserve_gib = {reserve_gib!r}")
    changed = changed.replace("preference = 5", "preference = 100").replace("parallel = 2", "parallel = 1")
    new = folder / "cpu-x86.new"
    new.write_text(changed)
    new.replace(folder / "cpu-x86.toml")


def hold(town: Town) -> None:
    """The model as a get leaves it."""
    content = town.model.read_bytes()
    file = BundleFile(
        path=town.model.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    bundle = Bundle(format=ModelFormat.GGUF, files=(file,))
    blob = blob_path(town.office.settings.state_dir, file.sha256)
    path = engine_path(town.office.settings.state_dir, bundle)
    for each in (blob, path):
        each.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    os.link(blob, path)
    facts = read_facts({file.path: path})
    add_held(town.office.db, HeldModel(SPLIT, bundle, facts, "", "a test", "MIT", None, None, now()))


def splits(town: Town) -> tuple[Split, ...]:
    return read_splits(town.office.db).splits


def lenders(town: Town) -> list[str]:
    """Where the parts are by the core's word."""
    names = {worker.id: pc for pc, worker in town.workers.items()}
    return [names[part.node] for split in splits(town) for part in split.plan.parts]


def part_process(town: Town, pc: str) -> psutil.Process:
    agent = psutil.Process(town.office.agents[pc].pid)
    (part,) = (one for one in agent.children() if "appliance.engines.sharding" in one.cmdline())
    return part


def test_the_plan_is_what_runs(town: Town) -> None:
    (split,) = splits(town)
    assert lenders(town) == ["pc1"]
    (part,) = split.plan.parts
    assert split.plan.head_layers + part.layers == SHAPE.layers
    assert any("its link takes" in reason for reason in split.plan.reasons)
    status = town.part_status("pc1")
    assert status.memory_bytes == part.memory_bytes
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
    remove_pin(town.office.db, town.workers["pc2"].id, SPLIT, chosen_by=None)
    assert lenders(town) == ["pc1"]
    town.office.lab.stop(town.office.agents["pc1"])
    wait_until(lambda: lenders(town) == ["pc2"], within_seconds=60, what="the core plans anew")
    (split,) = splits(town)
    assert split.plan.reasons[0] == f"The part on {town.workers['pc1'].name} is lost."
    wait_until(partial(town.answers, SPLIT), within_seconds=60, what="the split model answers again")
    assert town.text(SPLIT, [7, 300, 41]) == expected
    town.office.start_agent("pc1", "run")
    wait_until(partial(town.office.pings, "box", town.tunnel("pc1")), within_seconds=20, what="pc1 is back")
    assert not town.has_part("pc1")


def test_a_split_that_an_admin_does_not_want_is_taken_down(town: Town) -> None:
    """First the head ends, then the part, which is not lost by that."""
    wish_split(town.office.db, SPLIT, SplitWish.NEVER, chosen_by=None)
    wait_until(lambda: not town.has_part("pc2"), within_seconds=40, what="the part is given back")
    assert not splits(town)
    (unsplit,) = read_splits(town.office.db).unsplit
    assert unsplit.possible and unsplit.model == SPLIT
    _, let_go, after = town.told_of_engines().rpartition(f"engine {SPLIT} is not wanted like this any more\n")
    assert let_go and "is lost" not in after
