"""A worker's engines as the box wants them: real processes, one of them taken away while it answers."""

import errno
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import psutil
import pytest

from appliance.enrolment.contract import DesiredEngine, EngineReport
from appliance.worker.engines import Engines
from tests.conftest import DEMO_MODEL
from tests.engines.serving import HeldRequest
from tests.waiting import wait_until

ADDRESS = IPv4Address("127.0.0.73")


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.gguf").symlink_to(DEMO_MODEL)
    engines = Engines(tmp_path, ADDRESS, lambda _: None)
    yield engines
    engines.stop()


def desired(model: str, slots: int = 2) -> DesiredEngine:
    return DesiredEngine(model=model, slots=slots, context_tokens=512)


def reported(engines: Engines, model: str) -> EngineReport | None:
    engines.tend()
    return next((one for one in engines.reports() if one.model == model), None)


def wait_for(engines: Engines, model: str, slots: int) -> EngineReport:
    def right_one() -> EngineReport | None:
        one = reported(engines, model)
        return one if one is not None and one.ready and one.slots == slots else None

    return wait_until(
        right_one,
        within_seconds=40,
        what=f"{model} answers with {slots} slots",
        every_seconds=0.1,
    )


def process_of(report: EngineReport) -> psutil.Process:
    """Among the children of other tests, which may still run."""
    [process] = (
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and f"{ADDRESS}:{report.port}" in one.cmdline()
    )
    return process


def ask(report: EngineReport) -> int:
    connection = http.client.HTTPConnection(str(ADDRESS), report.port, timeout=20)
    try:
        connection.request("GET", "/v1/models")
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_engine_finishes_what_it_answers_and_blocks_nobody(engines: Engines) -> None:
    engines.apply([desired("one"), desired("two")])
    first = wait_for(engines, "one", slots=2)
    second = wait_for(engines, "two", slots=2)
    held = HeldRequest(socket.create_connection((str(ADDRESS), first.port)), "one")
    engines.apply([desired("one", slots=3), desired("two")])
    wait_until(
        lambda: (one := reported(engines, "one")) and one.stopping, within_seconds=5, what="it is told"
    )
    assert ask(second) == 200
    assert len(engines.files()) == 2, "its file is not to be taken away"
    assert b'"finish_reason"' in held.let_go()
    assert wait_for(engines, "one", slots=3).port == first.port


def test_one_that_ends_by_itself_is_told_and_started_again_later_each_time(engines: Engines) -> None:
    engines.apply([DesiredEngine(model="one", slots=1, device="vulkan"), desired("two")])

    def restarted() -> EngineReport | None:
        one = reported(engines, "one")
        return one if one and one.ending and one.ending.restarts == 2 and one.ending.is_running else None

    told = wait_until(restarted, within_seconds=60, what="it was started twice again", every_seconds=0.1)
    assert told.ending
    assert told.ending.said.startswith("It ended with status 1: llama.cpp finds no vulkan device here")
    assert not told.ready and told.trouble == told.ending.said and told.ending.failed_loads == 2
    wait_for(engines, "two", slots=2)


def test_one_that_was_killed_answers_again_and_what_happened_stays_told(engines: Engines) -> None:
    engines.apply([desired("one")])
    running = wait_for(engines, "one", slots=2)
    assert running.ending is None
    process_of(running).kill()
    wait_until(engines.tend, within_seconds=5, what="its end is news")
    assert (dead := reported(engines, "one")) and dead.trouble.startswith("It ended by signal SIGKILL: ")
    assert dead.ending and dead.ending.failed_loads == 0, "it had been ready"
    again = wait_for(engines, "one", slots=2)
    assert (
        again.trouble == "" and again.ending and (again.ending.restarts, again.ending.is_running) == (1, True)
    )


def test_all_are_stopped_at_once_whatever_is_being_answered(engines: Engines) -> None:
    engines.apply([desired("one")])
    first = wait_for(engines, "one", slots=2)
    held = HeldRequest(socket.create_connection((str(ADDRESS), first.port)), "one")
    engines.apply([])
    engines.stop()
    assert engines.reports() == () and engines.files() == ()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(ADDRESS), first.port), timeout=5)
    with suppress(OSError):
        held.let_go()


def test_where_no_process_can_be_had_the_others_go_on_and_it_is_tried_again(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    engines.apply([desired("one")])
    one = wait_for(engines, "one", slots=2)
    with monkeypatch.context() as until_then:
        until_then.setattr("appliance.worker.engine_process.subprocess.Popen", no_process)
        engines.apply([desired("one"), desired("two")])
        process_of(one).kill()
        wait_until(
            lambda: (dead := reported(engines, "one")) and not dead.ready,
            within_seconds=10,
            what="one has died",
        )
        until = time.monotonic() + 1.5
        wait_until(lambda: engines.tend() or time.monotonic() > until, within_seconds=5, what="it was tried")
    engines.apply([desired("one"), desired("two")])
    for model in ("one", "two"):
        assert ask(wait_for(engines, model, slots=2)) == 200
