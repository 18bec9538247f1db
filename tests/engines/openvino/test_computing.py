"""OpenVINO computes in a process of its own: a long step holds up nobody, and neither outlives the other."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import openai
import psutil
import pytest

from appliance.engines.endings import ENGINE_THREAD_DIED_STATUS, FINISH_SIGNAL
from appliance.engines.generation import GenerationRequest
from appliance.engines.openvino.computing import Computing
from appliance.engines.openvino.steps import Add, Failed, Start
from appliance.engines.sampling_plan import SamplingPlan
from tests.conftest import DEMO_MODEL, free_port
from tests.engines.serving import ROOT, RunningEngine, engine_process
from tests.waiting import wait_until


@pytest.fixture
def engine() -> Iterator[RunningEngine]:
    with engine_process(DEMO_MODEL, "--engine", "openvino", "--slots", "2") as engine:
        yield engine


def computing(engine: RunningEngine) -> psutil.Process:
    [process] = psutil.Process(engine.process.pid).children()
    return process


def test_while_a_step_takes_long_the_server_answers(engine: RunningEngine) -> None:
    """A step that takes long is played by stopping the process that makes it."""
    process = computing(engine)
    process.suspend()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(engine.chat, "Hello", max_tokens=4)
        wait_until(lambda: engine.health()["busy"] == 1, within_seconds=10, what="it has a slot")
        waiting = [pool.submit(engine.chat, "Hello", max_tokens=4) for _ in range(2)]
        wait_until(lambda: engine.health()["waiting"] == 1, within_seconds=10, what="the third one waits")
        assert not answer.done()
        process.resume()
        assert [each.result(20).status for each in (answer, *waiting)] == [200] * 3
    assert engine.health()["busy"] == 0


def test_who_leaves_during_a_long_step_gives_the_slot_back(engine: RunningEngine) -> None:
    process = computing(engine)
    process.suspend()
    with pytest.raises(openai.APITimeoutError):
        engine.client(timeout=0.5).chat.completions.create(
            model=engine.model, messages=[{"role": "user", "content": "Hello"}]
        )
    wait_until(lambda: engine.health()["busy"] == 0, within_seconds=10, what="its slot is free")
    process.resume()
    assert engine.chat("Hello", max_tokens=4).status == 200


def test_when_the_computing_process_dies_the_engine_ends_and_says_how(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with engine_process(DEMO_MODEL, "--engine", "openvino") as engine:
        computing(engine).send_signal(signal.SIGKILL)
        assert engine.process.wait(10) == 70
    assert (
        "OpenVINO computes no more: it was killed, as happens where the machine has no memory left"
        in capfd.readouterr().err
    )


def test_when_the_engine_dies_nothing_computes_on(engine: RunningEngine) -> None:
    process = computing(engine)
    engine.process.kill()
    process.wait(10)


def test_when_the_engine_is_killed_a_step_that_never_ends_is_over(engine: RunningEngine) -> None:
    """Such a step is played by stopping the process that makes it: the next engine needs its memory."""
    process = computing(engine)
    process.suspend()
    engine.process.kill()
    process.wait(10)


def test_what_goes_wrong_in_a_step_is_told_in_its_own_words() -> None:
    """By a request that the server never lets through."""
    computing = Computing(Start(DEMO_MODEL, "CPU", {}, {"max_num_seqs": 1}))
    computing.wait_until_loaded()
    request = GenerationRequest((5, 6), SamplingPlan(temperature=1e-300), max_tokens=1)
    computing.connection.send(Add(0, request, frozenset(), None))
    said = computing.connection.recv()
    assert isinstance(said, Failed) and "temperature must be a strictly positive float" in said.why
    computing.connection.close()
    assert computing.how_it_ended() == "it ended with exit status 0"


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, FINISH_SIGNAL])
def test_who_still_loads_ends_when_asked(asked_by: signal.Signals) -> None:
    """A model that takes minutes to load is played by stopping the process that loads it."""
    listen = ("--name", "m", "--listen", f"127.0.0.1:{free_port()}")
    command = [sys.executable, "-m", "appliance.engines", "--model", str(DEMO_MODEL), *listen]
    with subprocess.Popen([*command, "--engine", "openvino"], cwd=ROOT) as server:
        process = psutil.Process(server.pid)
        wait_until(process.children, within_seconds=30, what="the process that loads has started")
        loading = process.children()[0]
        loading.suspend()
        server.send_signal(asked_by)
        assert server.wait(8) == 0
    with suppress(psutil.NoSuchProcess):
        loading.resume()  # where it was stopped before it had said that it ends with the server
    loading.wait(10)


IMPATIENT = """
from appliance.engines import stuck, text_engine
stuck.LOOK_EVERY_SECONDS, text_engine._STALLED_SECONDS = 0.2, 0.5
from appliance.engines.__main__ import main
main()
"""


def test_an_engine_that_makes_no_step_any_more_ends_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """On a PC nobody else would: there it would be asked, and never answer."""
    port = free_port()
    listen = ("--name", "m", "--listen", f"127.0.0.1:{port}", "--engine", "openvino")
    command = [sys.executable, "-c", IMPATIENT, "--model", str(DEMO_MODEL), *listen]
    with subprocess.Popen(command, cwd=ROOT) as server, ThreadPoolExecutor() as pool:
        engine = RunningEngine(server, port, "m")
        try:
            wait_until(lambda: engine.health()["ready"], within_seconds=30, what="it is ready")
            computing(engine).suspend()
            answer = pool.submit(engine.chat, "Hello")
            assert server.wait(20) == ENGINE_THREAD_DIED_STATUS
            assert answer.exception(20)
        finally:
            server.kill()
    assert "It made no step any more" in capfd.readouterr().err
