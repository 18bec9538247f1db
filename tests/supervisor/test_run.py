"""`./build.sh run` as its user meets it: every process real, on loopback, with the demo model."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from openai import OpenAI, OpenAIError

from tests.conftest import free_port
from tests.waiting import wait_until

READY_WITHIN_SECONDS = 90


@dataclass
class Run:
    """A running product and what its ready line said."""

    popen: subprocess.Popen[str]
    facts: dict[str, str]

    @property
    def openai(self) -> OpenAI:
        return OpenAI(base_url=self.facts["api_base"], api_key=self.facts["demo_api_key"], max_retries=0)

    def process(self, word: str) -> psutil.Process | None:
        """The living child whose command line holds `word`."""
        for child in psutil.Process(self.popen.pid).children():
            try:
                if any(word in part for part in child.cmdline()):
                    return child
            except psutil.Error:  # it has just died
                continue
        return None


def command(port: int, state: Path) -> list[str]:
    return [sys.executable, "-m", "appliance.supervisor", "--port", str(port), "--state", str(state)]


@contextmanager
def running(port: int, state: Path) -> Iterator[Run]:
    popen = subprocess.Popen(command(port, state), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert popen.stdout
        line = popen.stdout.readline()
        assert line.startswith("ready "), line + (popen.stderr.read() if popen.stderr else "")
        yield Run(popen, json.loads(line.removeprefix("ready ")))
    finally:
        popen.send_signal(signal.SIGINT)
        popen.wait(30)


def answers(run: Run) -> bool:
    try:
        chat = run.openai.chat.completions.create(
            model="cellule-demo", messages=[{"role": "user", "content": "Hello"}], max_tokens=8
        )
    except Exception:
        return False
    return bool(chat.choices[0].message.content)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # a short path: sockets live under it
    return tmp_path_factory.mktemp("box")


@pytest.fixture(scope="module")
def run(state: Path) -> Iterator[Run]:
    with running(free_port(), state) as run:
        yield run


def test_the_ready_line_says_all_that_one_needs(run: Run) -> None:
    assert set(run.facts) == {"base_url", "api_base", "claim_code", "demo_api_key"}
    with urllib.request.urlopen(run.facts["base_url"] + "/sign-in", timeout=10) as page:
        assert page.status == 200


def test_the_openai_client_gets_a_streamed_answer(run: Run) -> None:
    stream = run.openai.chat.completions.create(
        model="cellule-demo",
        messages=[{"role": "user", "content": "What is a worker?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text) > 20 and len(chunks) > 5
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens >= len(chunks) - 4


@pytest.mark.parametrize(
    "word", ["appliance.engines", "appliance.pool.app:app", "webadmin:", "appliance.jobs", "appliance.host"]
)
def test_a_killed_process_comes_back(run: Run, word: str) -> None:
    first = run.process(word)
    assert first
    family = [first, *first.children(recursive=True)]
    first.kill()

    def successor() -> bool:
        process = run.process(word)
        return process is not None and process.pid != first.pid

    wait_until(successor, within_seconds=30, what="it is started again")
    wait_until(lambda: answers(run), within_seconds=60, what="it answers again")
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive, "no orphan holds the port"


def test_a_taken_port_is_refused_with_a_sentence(run: Run, tmp_path: Path) -> None:
    port = int(run.facts["base_url"].rsplit(":", 1)[1])
    second = subprocess.run(
        command(port, tmp_path / "state"), capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert f"Port {port}" in second.stderr and "--port" in second.stderr
    assert "Traceback" not in second.stderr
    assert not (tmp_path / "state").exists(), "refused before anything was made"


def test_a_state_directory_in_use_is_refused_with_a_sentence(run: Run, state: Path) -> None:
    second = subprocess.run(
        command(free_port(), state), capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "in use by another run" in second.stderr and "Traceback" not in second.stderr
    assert answers(run)


def test_a_second_start_finds_the_state_as_it_was_and_ctrl_c_stops_all(tmp_path: Path) -> None:
    facts = []
    for _ in range(2):
        with running(free_port(), tmp_path) as run:
            children = psutil.Process(run.popen.pid).children(recursive=True)
            assert len(children) >= 5
            facts.append(run.facts)
            run.popen.send_signal(signal.SIGINT)
            assert run.popen.stderr
            next(line for line in run.popen.stderr if "stopping" in line)
            run.popen.send_signal(signal.SIGINT)  # impatience changes nothing
            assert run.popen.wait(30) == 0
            assert "Traceback" not in run.popen.stderr.read()
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive
    assert facts[0]["claim_code"] == facts[1]["claim_code"]
    assert facts[0]["demo_api_key"] == facts[1]["demo_api_key"]


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(free_port(), tmp_path) as run:
        children = psutil.Process(run.popen.pid).children(recursive=True)
        os.kill(run.popen.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive


def test_nothing_secret_is_written_to_a_log(run: Run, state: Path) -> None:
    planted = "planted-in-a-prompt"
    run.openai.chat.completions.create(
        model="cellule-demo", messages=[{"role": "user", "content": planted}], max_tokens=4
    )
    with pytest.raises(OpenAIError):  # what is refused is no more told than what is answered
        run.openai.chat.completions.create(model=planted, messages=[{"role": "user", "content": planted}])
    logs = "".join(path.read_text(errors="replace") for path in (state / "log").glob("*.log*"))
    assert "request_id" in logs or "request" in logs, "the logs are looked at, not missing"
    for secret in (run.facts["demo_api_key"], run.facts["claim_code"], planted):
        assert secret not in logs
