"""A PC from its invitation to its revocation, all processes real, each computer in a network of its own."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from appliance.enrolment import Worker, WorkerReport
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.worker.facts import machine_facts
from tests.netlab import Lab
from tests.waiting import wait_until
from tests.worker.office import PORT, Office, open_office

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

REVOKED_EXIT_CODE = 3


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with open_office("pc1", "pc2", "pc3") as office:
        yield office


@pytest.fixture(scope="module")
def joined(office: Office) -> dict[str, Worker]:
    """Two workers that found the box by mDNS, their engines ready."""
    workers = {pc: office.join(pc) for pc in ("pc1", "pc2")}
    for worker in workers.values():
        wait_until(partial(engine_ready, office, worker), within_seconds=30, what="an engine is ready")
    return workers


def engine_ready(office: Office, worker: Worker) -> bool:
    row = office.report_of(worker)
    return row is not None and any(engine["ready"] for engine in json.loads(str(row["report"]))["engines"])


def asked(lab: Lab, name: str, address: str, port: int = 8000) -> int | None:
    """The status of an engine's readiness asked from a computer; None when nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        with lab.inside(name):
            connection.connect()
        connection.request("GET", "/health/ready")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def answers(lab: Lab, engine: str) -> bool:
    return asked(lab, "box", engine) == 200


def address_of(worker: Worker) -> str:
    assert worker.tunnel_address is not None
    return worker.tunnel_address


def test_the_short_codes_are_the_same_on_both_screens(office: Office, joined: dict[str, Worker]) -> None:
    for pc, worker in joined.items():
        shown = office.lab.log(office.agents[pc])
        assert f"{worker.short_code[:3]} {worker.short_code[3:]}" in shown
        assert f"python -m appliance.worker run --state {office.state_dir(pc)}" in shown


def test_the_report_tells_the_machine_and_its_engine(office: Office, joined: dict[str, Worker]) -> None:
    row = office.report_of(joined["pc1"])
    assert row is not None
    report = WorkerReport.model_validate_json(str(row["report"]))
    # a namespace has none of the machine's network cards
    assert report.facts == machine_facts().model_copy(update={"mac_addresses": ()})
    (engine,) = report.engines
    assert (engine.model, engine.port, engine.ready, engine.demo) == (DEMO_MODEL_NAME, 8000, True, True)
    assert engine.tokens_per_second > 0


def test_status_tells_a_person_where_the_worker_stands(office: Office, joined: dict[str, Worker]) -> None:
    argv = [sys.executable, "-m", "appliance.worker", "status", "--state", str(office.state_dir("pc1"))]
    told = office.lab.run("pc1", argv).stdout
    assert f"tunnel address: {address_of(joined['pc1'])}" in told
    assert re.search(r"last handshake: \d+ s ago", told)


def test_no_secret_is_in_a_log_or_on_a_command_line(office: Office, joined: dict[str, Worker]) -> None:
    code = (office.folder / "code-pc1").read_text().strip()
    (key_file,) = office.state_dir("pc1").glob("*.key")
    box_key = (office.settings.secrets_dir / "wireguard.key").read_text().strip()
    poll_key = json.loads((office.state_dir("pc1") / "membership.json").read_text())["poll_key"]
    secrets = (code, code.replace("-", ""), key_file.read_text().strip(), box_key, poll_key)
    told = office.lab.logs() + "".join(" ".join(process.cmdline()) for process in processes(office))
    assert [secret for secret in secrets if secret in told] == []


def processes(office: Office) -> list[psutil.Process]:
    return [psutil.Process(pid) for name in office.lab.names for pid in office.lab.pids(name)]


def test_an_engine_answers_the_box_through_the_tunnel_and_nobody_else(
    office: Office, joined: dict[str, Worker]
) -> None:
    lab, engine = office.lab, address_of(joined["pc1"])
    assert answers(lab, engine)
    assert asked(lab, "client", lab.address("pc1")) is None
    assert asked(lab, "pc2", engine) is None
    # by the LAN to the tunnel address: the weak host model would let it in
    for name in ("client", "pc2"):
        lab.run(name, ["ip", "route", "replace", f"{engine}/32", "via", lab.address("pc1")])
        assert asked(lab, name, engine) is None
        lab.run(name, ["ip", "route", "del", f"{engine}/32", "via", lab.address("pc1")])


def test_an_engine_is_neither_root_nor_able_to_become_it(office: Office, joined: dict[str, Worker]) -> None:
    engine = engine_process(office, "pc1")
    status = Path(f"/proc/{engine.pid}/status").read_text()
    assert engine.uids().effective != 0
    assert "NoNewPrivs:\t1" in status
    # reading files at most, where the program lies in a folder closed to others
    (effective,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    assert effective & ~(1 << 2) == 0
    assert engine.environ()["OMP_WAIT_POLICY"] == "passive"


def engine_process(office: Office, pc: str) -> psutil.Process:
    (engine,) = (
        process
        for process in psutil.Process(agent_pid(office, pc)).children()
        if "appliance.engines" in process.cmdline()
    )
    return engine


def agent_pid(office: Office, pc: str) -> int:
    # `ip netns exec` becomes the program that it starts
    return office.agents[pc].pid


def test_an_engine_that_dies_comes_back(office: Office, joined: dict[str, Worker]) -> None:
    before = engine_process(office, "pc1")
    before.kill()
    before.wait(5)
    engine = address_of(joined["pc1"])
    wait_until(partial(answers, office.lab, engine), within_seconds=20, what="the engine is back")
    assert engine_process(office, "pc1").pid != before.pid


def test_an_agent_that_is_killed_takes_its_engine_along_and_starts_again(
    office: Office, joined: dict[str, Worker]
) -> None:
    engine = engine_process(office, "pc2")
    office.agents["pc2"].kill()
    wait_until(lambda: not engine.is_running(), within_seconds=10, what="the engine is gone")
    office.agents["pc2"].wait(5)
    office.start_agent("pc2", "run")
    address = address_of(joined["pc2"])
    wait_until(partial(answers, office.lab, address), within_seconds=20, what="the worker is back")


def test_a_tunnel_that_is_killed_is_rebuilt_on_both_sides(office: Office, joined: dict[str, Worker]) -> None:
    worker = address_of(joined["pc1"])
    for name, limit_seconds in (("pc1", 5), ("box", 15)):
        kill_tunnel(office, name)
        started = time.monotonic()
        wait_until(
            lambda: office.pings("box", worker), within_seconds=limit_seconds, what=f"{name} has healed"
        )
        print(f"tunnel of {name} rebuilt in {time.monotonic() - started:.2f} s")


def kill_tunnel(office: Office, name: str) -> None:
    """As a crash of wireguard-go would; where the kernel has the tunnel, as somebody's `ip link del`."""
    interface = office.lab.tunnel_name(name)
    for pid in office.lab.pids(name):
        if psutil.Process(pid).cmdline() == ["wireguard-go", interface]:
            os.kill(pid, signal.SIGKILL)
    office.lab.run(name, ["ip", "link", "del", interface], check=False)


def test_a_pulled_cable_is_an_interruption_and_no_more(office: Office, joined: dict[str, Worker]) -> None:
    lab, engine = office.lab, address_of(joined["pc2"])
    lab.unplug("pc2")
    assert asked(lab, "box", engine) is None
    lab.plug("pc2")
    wait_until(partial(answers, lab, engine), within_seconds=15, what="pc2 answers again")


def test_flushed_rules_are_back_within_seconds(office: Office, joined: dict[str, Worker]) -> None:
    office.lab.run("pc1", ["nft", "flush", "ruleset"])
    wait_until(
        lambda: (
            f"cellule_{office.lab.tunnel_name('pc1')}"
            in office.lab.run("pc1", ["nft", "list", "tables"]).stdout
        ),
        within_seconds=15,
        what="the worker's rules are back",
    )


def test_a_stop_leaves_nothing_behind_and_run_comes_back(office: Office, joined: dict[str, Worker]) -> None:
    assert office.lab.stop(office.agents["pc2"]) == 0
    assert office.lab.pids("pc2") == []
    assert office.lab.tunnel_name("pc2") not in office.lab.run("pc2", ["ip", "link"]).stdout
    assert office.lab.run("pc2", ["nft", "list", "tables"]).stdout == ""
    office.start_agent("pc2", "run")
    engine = address_of(joined["pc2"])
    wait_until(partial(answers, office.lab, engine), within_seconds=20, what="the worker is back")


def test_a_box_that_moved_is_found_again(office: Office, joined: dict[str, Worker]) -> None:
    """As if DHCP gave the box another address, which it keeps for the tests that follow."""
    lab, old, new = office.lab, office.lab.address("box"), "10.99.0.200"
    lab.run("box", ["ip", "address", "del", f"{old}/24", "dev", "eth0"])
    lab.run("box", ["ip", "address", "add", f"{new}/24", "brd", "+", "dev", "eth0"])
    # what the box itself knows of its workers is gone too, so it is they who must find it
    kill_tunnel(office, "box")
    for remembered in (office.settings.state_dir / "host").glob("endpoints-*.json"):
        remembered.unlink()
    started = time.monotonic()
    for worker in joined.values():
        wait_until(
            partial(answers, lab, address_of(worker)), within_seconds=60, what="all have found the box"
        )
    print(f"a box that moved found in {time.monotonic() - started:.1f} s")
    assert f"the box is at {new} now" in lab.log(office.agents["pc1"])


def test_a_waiting_worker_may_be_interrupted_and_then_refused(office: Office) -> None:
    office.start_agent("pc3", "join", "--code-file", str(office.invite("pc3")))
    worker = office.pending()
    wait_until(
        lambda: "Waiting" in office.lab.log(office.agents["pc3"]), within_seconds=10, what="the code is shown"
    )
    assert office.lab.stop(office.agents["pc3"]) == 0
    agent = office.start_agent("pc3", "join")
    wait_until(lambda: "Waiting" in office.lab.log(agent), within_seconds=10, what="it waits again")
    assert office.pending().id == worker.id
    office.revoke(worker)
    assert agent.wait(15) == 1
    assert "refused" in office.lab.log(agent)
    assert list(office.state_dir("pc3").glob("*.key")) == []


def test_a_revoked_worker_is_gone_within_two_seconds_and_wipes_its_keys(
    office: Office, joined: dict[str, Worker]
) -> None:
    lab, engine = office.lab, address_of(joined["pc1"])
    with lab.inside("box"):
        stream = socket.create_connection((engine, 8000), timeout=5)
    stream.settimeout(5)
    started = time.monotonic()
    office.revoke(joined["pc1"])
    # the open connection is ended by the box itself
    with pytest.raises(ConnectionAbortedError):
        stream.recv(1)
    cut_after_seconds = time.monotonic() - started
    print(f"revoked to gone: {cut_after_seconds:.3f} s")
    assert cut_after_seconds < 2
    assert asked(lab, "box", engine) is None
    assert not reaches_front(lab, "pc1")
    assert answers(lab, address_of(joined["pc2"]))
    agent = office.agents["pc1"]
    try:
        assert agent.wait(40) == REVOKED_EXIT_CODE
    except subprocess.TimeoutExpired:
        raise AssertionError("the agent has not noticed its revocation") from None
    assert "taken out of the fleet" in lab.log(agent)
    assert sorted(path.name for path in office.state_dir("pc1").iterdir()) == ["lock"]
    assert lab.pids("pc1") == []


def reaches_front(lab: Lab, pc: str) -> bool:
    try:
        with lab.inside(pc):
            socket.create_connection(("10.77.0.1", PORT), timeout=1).close()
    except OSError:
        return False
    return True
