"""A worker before a server that its owner runs: found, reported, stood before, and adopted anew on a word."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.engines.adopted.finding import FoundAt
from appliance.engines.adopted.recognising import Claim, Found
from appliance.engines.adopted.servers import ServerKind
from appliance.enrolment.contract import DesiredEngine, EngineReport, FoundServer, WorkerReport
from appliance.hardware.profile import EngineName, Setting
from appliance.settings import WORKER_ENGINE_PORTS
from appliance.worker.adoptions import Adoptions
from appliance.worker.desired import NO_FILE, EngineSpec, plan_engines
from appliance.worker.engine_process import engine_command
from appliance.worker.engines import Engines
from appliance.worker.server_search import MOST_MODELS, MOST_SERVERS, ServerSearch, as_reported
from tests.engines.adopted.wrong_server import WrongServer, wrong_server
from tests.waiting import wait_until

ADDRESS = IPv4Address("127.77.3.4")
"""Loopback too, and nobody else's: the ports of a worker are fixed."""
MARK = f"9:{'a' * 12}"


@pytest.fixture
def server() -> Iterator[WrongServer]:
    with wrong_server() as running:
        yield running


def wanted(url: str, **settings: Setting) -> DesiredEngine:
    given = {"url": url, "model": "house-8b", **settings}
    return DesiredEngine(model="house-8b", slots=2, engine=EngineName.ADOPTED, settings=given)


def spec_of(desired: DesiredEngine) -> EngineSpec:
    [spec] = plan_engines([desired], [], lambda _: None).start
    return spec


def ended(engines: Engines) -> EngineReport:
    """The report of the only engine, once its first check is over."""

    def report() -> EngineReport | None:
        engines.tend()
        [one] = engines.reports() or [None]
        if one is None or one.stopping:
            return None
        return one if one.ready or "not checked" not in (one.trouble or "not checked") else None

    return wait_until(report, within_seconds=60, what="it was checked", every_seconds=0.1)


def test_an_adopted_engine_needs_no_file_and_keeps_clear_of_its_servers_port() -> None:
    desired = wanted("http://127.0.0.1:8000")
    changes = plan_engines([desired], [], lambda _: None, taken_ports={8000})
    [spec] = changes.start
    assert spec.file == NO_FILE and spec.port == WORKER_ENGINE_PORTS[1]
    assert plan_engines([desired], [spec], lambda _: None, taken_ports={8000}).start == ()
    again = plan_engines([wanted("http://127.0.0.1:8000", adoption="2")], [spec], lambda _: None)
    assert again.stop == (spec,) and len(again.start) == 1


@pytest.mark.parametrize("name", ["--model", "../x", "", "a b"])
def test_a_name_that_is_none_is_left_out(name: str) -> None:
    engine = wanted("http://127.0.0.1:8000").model_copy(update={"model": name})
    changes = plan_engines([engine], [], lambda _: None)
    assert not changes.start and changes.left_out


def test_the_command_has_the_settings_and_the_fingerprint_and_no_key() -> None:
    spec = spec_of(wanted("http://127.0.0.1:8000", key_file="/etc/keys/vllm"))
    command = engine_command(spec, ADDRESS, MARK)
    assert f"fingerprint={MARK}" in command and "url=http://127.0.0.1:8000" in command
    assert "key_file=/etc/keys/vllm" in command
    assert f"{ADDRESS}:{spec.port}" in command
    given = spec_of(wanted("http://127.0.0.1:8000", fingerprint="1:" + "b" * 12))
    assert f"fingerprint={MARK}" not in engine_command(given, ADDRESS, MARK), "the box's own word counts"


def test_a_fingerprint_is_kept_until_the_box_adopts_anew(tmp_path: Path) -> None:
    adoptions, spec = Adoptions(tmp_path), spec_of(wanted("http://127.0.0.1:8000"))
    assert adoptions.fingerprint(spec) == ""
    adoptions.remember(spec, MARK)
    adoptions.remember(spec, "1:" + "b" * 12)
    assert Adoptions(tmp_path).fingerprint(spec) == MARK
    assert adoptions.fingerprint(spec_of(wanted("http://127.0.0.1:8000", adoption="2"))) == ""
    assert adoptions.fingerprint(spec_of(wanted("http://127.0.0.1:8001"))) == ""
    assert (tmp_path / "adoptions.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"models": 7}'])
def test_a_file_of_adoptions_that_is_damaged_stops_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "adoptions.json").write_bytes(content)
    spec = spec_of(wanted("http://127.0.0.1:8000"))
    assert Adoptions(tmp_path).fingerprint(spec) == ""
    Adoptions(tmp_path).remember(spec, MARK)
    assert Adoptions(tmp_path).fingerprint(spec) == MARK


def test_the_worker_stands_before_it_and_takes_no_other_model_until_it_is_told(
    tmp_path: Path, server: WrongServer
) -> None:
    engines = Engines(tmp_path, ADDRESS, lambda _: None)
    try:
        engines.apply([wanted(server.url)])
        report = ended(engines)
        assert report.ready and report.engine is EngineName.ADOPTED and report.slots == 2
        assert report.tokens_per_second > 0 and report.sha256 == "" and report.fingerprint
        assert report.fingerprint in (tmp_path / "adoptions.json").read_text()
        assert engines.files() == ()
        engines.stop()

        server.manners.shifts = 3  # another tokenizer: another model under the same name
        engines.apply([wanted(server.url)])
        swapped = ended(engines)
        assert not swapped.ready and "Another model answers" in swapped.trouble

        engines.apply([wanted(server.url, adoption="2")])
        anew = ended(engines)
        assert anew.ready and anew.fingerprint != report.fingerprint
    finally:
        engines.stop()


def test_what_was_found_is_reported(server: WrongServer) -> None:
    search = ServerSearch([server.port])
    search.start()
    try:
        [found] = wait_until(search.found, within_seconds=20, what="it is found")
    finally:
        search.stop()
    assert (found.kind, found.port) == (ServerKind.OTHER, server.port)
    assert [model.id for model in found.models] == ["house-8b"]
    assert search.ports() == {server.port}
    report = WorkerReport(name="station", found_servers=search.found())
    assert WorkerReport.model_validate_json(report.model_dump_json()) == report


def test_a_machine_full_of_servers_is_reported_as_far_as_it_fits() -> None:
    models = tuple(Claim(f"m{number}") for number in range(100))
    many = [FoundAt(port, Found(ServerKind.OLLAMA, "", models, slots=10**9)) for port in range(1, 40)]
    reported = as_reported(many)
    assert len(reported) == MOST_SERVERS and len(reported[0].models) == MOST_MODELS
    assert WorkerReport(name="s", found_servers=reported)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "skynet", "port": 1},
        {"kind": "vllm", "port": 0},
        {"kind": "vllm", "port": 8000, "models": [{"id": "a\nb"}]},
        {"kind": "vllm", "port": 8000, "models": [{"id": ""}]},
        {"kind": "vllm", "port": 8000, "models": [{"id": "m"}] * 65},
        {"kind": "vllm", "port": 8000, "slots": -1},
    ],
)
def test_the_box_takes_no_report_of_a_server_that_can_not_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FoundServer.model_validate_json(json.dumps(wrong))
