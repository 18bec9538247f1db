"""The verdict on a whole box as `./build.sh run` starts it: good, and with each part broken in turn."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance.boot.breadcrumbs import Outcome, Running, read_boots
from appliance.boot.checks import CHECKS, Check
from appliance.boot.fixed_prompt import request_body
from appliance.boot.logs import log_around
from appliance.boot.places import places
from appliance.boot.speaking import EXIT_BAD_DATA, EXIT_BAD_RELEASE, EXIT_GOOD, speak_verdict
from appliance.settings import Settings
from tests.boot.test_speaking import kernel, names
from tests.conftest import free_port
from tests.supervisor.test_run import Run, running

IMPATIENT = tuple(replace(check, limit_seconds=min(check.limit_seconds, 1.5)) for check in CHECKS)
NAMES = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boot")


@pytest.fixture(scope="module")
def run(state: Path) -> Iterator[Run]:
    with running(free_port(), state) as run:
        yield run


@pytest.fixture
def settings(state: Path, run: Run) -> Settings:
    port = int(run.facts["base_url"].rsplit(":", 1)[1])
    return Settings(state_dir=state, port=port, metrics_port=port + 1, host_simulated=True)


@contextmanager
def stopped(run: Run, word: str) -> Iterator[None]:
    """A part that hangs: it is there, and says nothing."""
    process = run.process(word)
    assert process is not None
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for member in reversed(family):
            member.send_signal(signal.SIGCONT)


def judged(settings: Settings, boot_id: str, patience: tuple[Check, ...] = IMPATIENT) -> int:
    return speak_verdict(settings, places(settings), Running("2.0", "b", boot_id), patience)


def crumbs(settings: Settings, boot_id: str) -> dict[str, tuple[Outcome, str, str]]:
    boots = read_boots(places(settings).breadcrumbs)
    boot = next(boot for boot in boots if boot.boot_id == boot_id)
    return {crumb.step: (crumb.outcome, crumb.sentence, crumb.log) for crumb in boot.crumbs}


def test_a_whole_box_is_good_and_says_what_it_proved(settings: Settings) -> None:
    environment = os.environ | settings.environment()
    done = subprocess.run(
        [sys.executable, "-m", "appliance.boot", "verdict"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == EXIT_GOOD, done.stderr
    (boot,) = read_boots(places(settings).breadcrumbs)
    assert [crumb.step for crumb in boot.crumbs] == ["start", *NAMES, "verdict", "running"]
    assert "cellule-demo: The engine answered the fixed question" in done.stderr


@pytest.mark.parametrize(
    ("word", "check", "says"),
    [
        ("appliance.host", "broker", "No word within"),
        ("appliance.pool.app:app", "pool", "No word within"),
        ("webadmin:", "webadmin", "No word within"),
        ("appliance.engines", "answer", "No word within"),
    ],
)
def test_a_part_that_hangs_makes_the_boot_bad(
    settings: Settings, run: Run, word: str, check: str, says: str
) -> None:
    with stopped(run, word):
        assert judged(settings, f"hung-{check}") == EXIT_BAD_RELEASE
        said = log_around(settings, next(each.units for each in CHECKS if each.name == check))
    left = crumbs(settings, f"hung-{check}")
    assert list(left) == ["start", *NAMES[: NAMES.index(check) + 1], "verdict"]
    outcome, sentence, log = left[check]
    assert outcome is Outcome.FAILED and says in sentence
    assert log == said, "and the log of that part is kept with it"
    # the broker may have had nothing to say yet
    assert log or check == "broker"


def test_an_engine_that_answers_nonsense_makes_the_boot_bad(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = request_body("cellule-demo").replace(b"What is a worker?", b"Tell me about the printer")
    monkeypatch.setattr("appliance.boot.checks.request_body", lambda model: body)
    assert judged(settings, "nonsense") == EXIT_BAD_RELEASE
    assert "answered the fixed question wrongly" in crumbs(settings, "nonsense")["answer"][1]


def test_a_part_that_is_being_restarted_is_waited_for(settings: Settings, run: Run) -> None:
    for word in ("appliance.host", "appliance.engines"):
        process = run.process(word)
        assert process is not None
        process.kill()
        psutil.wait_procs([process], timeout=10)
    assert judged(settings, "restarted", CHECKS) == EXIT_GOOD


def test_a_database_damaged_under_a_running_box_is_the_data_s_fault(
    settings: Settings, tmp_path: Path
) -> None:
    # a second state directory with the same processes: the first one's stays whole
    for name in ("cellule.db", "activity.db"):
        with closing(sqlite3.connect(settings.state_dir / name)) as db:
            db.execute("VACUUM INTO ?", [str(tmp_path / name)])
    damaged = settings.model_copy(update={"state_dir": tmp_path})
    here = places(damaged)
    here.kernels.mkdir(parents=True)
    kernel(here, "cellule_2.0_b+2-1.efi")
    assert judged(damaged, "whole") == EXIT_GOOD
    content = bytearray((tmp_path / "cellule.db").read_bytes())
    content[100:4096] = b"\xff" * 3996
    (tmp_path / "cellule.db").write_bytes(content)
    assert judged(damaged, "damaged") == EXIT_BAD_DATA
    assert names(here) == {"cellule_2.0_b+3.efi"}, "no try is lost"
    assert (tmp_path / "cellule.db").read_bytes() == bytes(content)
    assert "cellule.db is damaged" in crumbs(damaged, "damaged")["storage"][1]
