"""The process itself: where it listens, what it says while starting, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from appliance.engines.batcher import Batcher
from appliance.engines.endings import FINISH_SIGNAL
from tests.conftest import DEMO_MODEL, free_port
from tests.engines.serving import ROOT, HeldRequest, RunningEngine, engine_process
from tests.waiting import wait_until


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "appliance.engines", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def over_unix_socket(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_it_listens_on_a_unix_socket_and_over_a_stale_one(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    for _ in range(2):
        engine = start("--model", str(tiny_model), "--name", "m", "--listen", f"unix:{path}")
        try:
            wait_until(
                lambda: b'"ready":true' in over_unix_socket(path, "/health/ready"),
                within_seconds=30,
                what="ready on the unix socket",
            )
            assert b'"live":true' in over_unix_socket(path, "/health/live")
        finally:
            engine.kill()  # leaves its socket behind for the second round
            engine.communicate(timeout=10)


def test_a_killed_engine_starts_again_and_answers_the_same(tiny_model: Path) -> None:
    answers = []
    for _ in range(2):
        with engine_process(tiny_model, "--slots", "1") as engine:
            answers.append(engine.complete([5, 6], temperature=0, max_tokens=8, ignore_eos=True).text)
            os.kill(engine.process.pid, signal.SIGKILL)
            assert engine.process.wait(timeout=10) == -signal.SIGKILL
    assert answers[0] == answers[1]


def test_terminated_it_ends_well(tiny_model: Path) -> None:
    with engine_process(tiny_model) as engine:
        os.kill(engine.process.pid, signal.SIGTERM)
        assert engine.process.wait(timeout=10) == 0


def test_asked_to_finish_it_answers_what_runs_and_takes_nothing_new(tiny_model: Path) -> None:
    with engine_process(tiny_model) as engine:
        held = HeldRequest(socket.create_connection(("127.0.0.1", engine.port)), engine.model)
        os.kill(engine.process.pid, FINISH_SIGNAL)
        health = wait_until(
            lambda: (said := engine.health()).get("stopping") and said, within_seconds=5, what="it stops"
        )
        assert health["ready"] is False and health["model"] == engine.model
        refused = engine.complete("b")
        assert (refused.status, refused.error["code"]) == (503, "engine_stopping")
        assert b'"finish_reason"' in held.let_go()
        assert engine.process.wait(timeout=10) == 0


def test_asked_to_finish_it_still_ends_soon_when_it_is_terminated(tiny_model: Path) -> None:
    with engine_process(tiny_model) as engine:
        held = HeldRequest(socket.create_connection(("127.0.0.1", engine.port)), engine.model)
        os.kill(engine.process.pid, FINISH_SIGNAL)
        wait_until(lambda: engine.health().get("stopping"), within_seconds=5, what="it stops")
        os.kill(engine.process.pid, signal.SIGTERM)
        assert engine.process.wait(timeout=10) == 0
        with suppress(OSError):
            held.let_go()


def test_an_idle_engine_that_is_asked_to_finish_ends_at_once(tiny_model: Path) -> None:
    with engine_process(tiny_model) as engine:
        os.kill(engine.process.pid, FINISH_SIGNAL)
        assert engine.process.wait(timeout=10) == 0


def test_no_model_and_no_gguf_end_with_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    for path in (tmp_path / "none.gguf", broken):
        engine = start("--model", str(path), "--name", "m", "--listen", f"127.0.0.1:{free_port()}")
        _, log = engine.communicate(timeout=30)
        assert engine.returncode == 1
        assert str(path) in log and "Traceback" not in log


def test_a_dead_engine_thread_ends_the_process(tiny_model: Path) -> None:
    program = f"""
import sys
from appliance.engines.batcher import Batcher
from appliance.engines.__main__ import main

place = Batcher._place_waiting
def fail_on_the_second_request(self):
    if self._steps > 3:
        raise RuntimeError("planted")
    place(self)
{Batcher.__name__}._place_waiting = fail_on_the_second_request
main()
"""
    port = free_port()
    arguments = ["--model", str(tiny_model), "--name", "m", "--listen", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environment, stderr=subprocess.PIPE
    )
    engine = RunningEngine(process, port, "m")
    wait_until(lambda: engine.health()["ready"], within_seconds=30, what="ready")
    connection = engine.raw("/v1/completions", {"model": "m", "prompt": "a", "ignore_eos": True})
    _, log = process.communicate(timeout=20)
    assert process.returncode == 70 and b"planted" in log
    connection.close()


def test_the_log_names_requests_but_never_what_they_say(tiny_model: Path) -> None:
    port = free_port()
    engine = start("--model", str(tiny_model), "--name", "m", "--listen", f"127.0.0.1:{port}")
    running = RunningEngine(engine, port, "m")  # type: ignore[arg-type]
    wait_until(lambda: running.health()["ready"], within_seconds=30, what="ready")
    running.call(
        "POST",
        "/v1/completions",
        {"model": "m", "prompt": "plantedsecret", "max_tokens": 3},
        {"x-request-id": "request-77"},
    )
    running.call("POST", "/v1/completions", b'{"plantedsecret"')
    running.complete("plantedsecret" * 2000, stop=["plantedsecret"] * 9)
    running.chat("plantedsecret", grammar="plantedsecret")
    engine.terminate()
    _, log = engine.communicate(timeout=20)
    assert re.search(r"request-77 /v1/completions answered prompt_tokens=\d+ generated_tokens=3", log)
    assert "plantedsecret" not in log


def test_a_setting_that_llama_cpp_does_not_have_ends_the_start_with_a_sentence() -> None:
    command = [sys.executable, "-m", "appliance.engines", "--model", str(DEMO_MODEL), "--name", "m"]
    done = subprocess.run(
        [*command, "--listen", f"127.0.0.1:{free_port()}", "--setting", "n_gpu_layer=9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "no setting 'n_gpu_layer'" in done.stderr
