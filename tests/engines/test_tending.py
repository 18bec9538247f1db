"""The box's engines follow the folder of specs: real processes, killed, stuck, broken and replaced."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from appliance.boot.asking import ask
from appliance.engines import tending as tending_module
from appliance.engines.spec import EngineSpec, read_specs, write_specs
from appliance.engines.tending import (
    STUCK_AFTER_ANSWERS,
    EngineState,
    TendedEngine,
    changes,
    read_engine_states,
)
from appliance.settings import Settings
from tests.conftest import DEMO_MODEL
from tests.engines.serving import HeldRequest
from tests.waiting import wait_until


def spec(name: str, **changed: object) -> EngineSpec:
    return EngineSpec.model_validate(
        {"name": name, "model_file": DEMO_MODEL, "slots": 2, "context_tokens": 512, **changed}
    )


@pytest.fixture
def tending(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.engines.tending"], env=os.environ | settings.environment()
    )
    yield process
    process.terminate()
    process.wait(20)


def health(settings: Settings, name: str) -> dict[str, object]:
    try:
        _, body = ask(settings.engine_socket(name), "/health/ready")
        said: dict[str, object] = json.loads(body)
        return said
    except OSError:
        return {}


def wait_for_ready(settings: Settings, name: str, slots: int) -> None:
    wait_until(
        lambda: health(settings, name).get("ready") and health(settings, name).get("slots") == slots,
        within_seconds=40,
        what=f"{name} answers with {slots} slots",
    )


def state(settings: Settings, name: str) -> EngineState | None:
    return next((one for one in read_engine_states(settings).engines if one.name == name), None)


def engine_process(tending: subprocess.Popen[bytes], name: str) -> psutil.Process:
    children = psutil.Process(tending.pid).children()
    living = (child for child in children if child.status() != psutil.STATUS_ZOMBIE)
    return next(child for child in living if name in child.cmdline())


def test_engines_follow_the_specs(settings: Settings, tending: subprocess.Popen[bytes]) -> None:
    folder = settings.engine_specs_dir
    assert write_specs(folder, {"one": spec("one"), "two": spec("two")})
    for name in ("one", "two"):
        wait_for_ready(settings, name, slots=2)
    kept = engine_process(tending, "two").pid
    write_specs(folder, {"one": spec("one", slots=3), "two": spec("two")})
    wait_for_ready(settings, "one", slots=3)
    assert engine_process(tending, "two").pid == kept
    write_specs(folder, {"one": spec("one", slots=3)})
    wait_until(lambda: not settings.engine_socket("two").exists(), within_seconds=15, what="two is gone")
    assert state(settings, "two") is None


def test_engines_go_on_though_nothing_can_be_written(
    settings: Settings, tending: subprocess.Popen[bytes]
) -> None:
    in_the_way = settings.engines_dir / "engines.new"
    in_the_way.mkdir(parents=True)
    write_specs(settings.engine_specs_dir, {"one": spec("one")})
    wait_for_ready(settings, "one", slots=2)
    assert tending.poll() is None and state(settings, "one") is None
    in_the_way.rmdir()
    wait_until(lambda: state(settings, "one"), within_seconds=10, what="how it does is told again")
    assert health(settings, "one").get("ready")


def test_an_engine_finishes_what_it_answers_while_others_are_tended(
    settings: Settings, tending: subprocess.Popen[bytes]
) -> None:
    folder = settings.engine_specs_dir
    write_specs(folder, {"one": spec("one"), "two": spec("two")})
    for name in ("one", "two"):
        wait_for_ready(settings, name, slots=2)
    held = HeldRequest.over_unix_socket(settings.engine_socket("one"), "one")
    write_specs(folder, {"one": spec("one", slots=3), "two": spec("two")})
    wait_until(lambda: health(settings, "one").get("stopping"), within_seconds=5, what="one stops")
    engine_process(tending, "two").kill()
    wait_until(
        lambda: (two := state(settings, "two")) and two.restarts == 1, within_seconds=15, what="two is back"
    )
    wait_for_ready(settings, "two", slots=2)
    assert health(settings, "one")["slots"] == 2, "the new one waits for the old one's end"
    assert b'"finish_reason"' in held.let_go()
    wait_for_ready(settings, "one", slots=3)


def test_who_tends_ends_soon_whatever_is_being_answered(settings: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.engines.tending"], env=os.environ | settings.environment()
    )
    write_specs(settings.engine_specs_dir, {"one": spec("one")})
    wait_for_ready(settings, "one", slots=2)
    held = HeldRequest.over_unix_socket(settings.engine_socket("one"), "one")
    write_specs(settings.engine_specs_dir, {})
    wait_until(lambda: health(settings, "one").get("stopping"), within_seconds=5, what="one stops")
    process.terminate()
    assert process.wait(15) == 0
    assert not settings.engine_socket("one").exists()
    with suppress(OSError):
        held.let_go()


def test_what_dies_comes_back_and_what_can_not_start_is_told(
    settings: Settings, tending: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(DEMO_MODEL.read_bytes()[:5000])
    write_specs(
        settings.engine_specs_dir, {"good": spec("good"), "broken": spec("broken", model_file=broken)}
    )
    wait_for_ready(settings, "good", slots=2)
    engine_process(tending, "good").kill()
    wait_until(
        lambda: (one := state(settings, "good")) and one.restarts == 1, within_seconds=15, what="it is back"
    )
    wait_for_ready(settings, "good", slots=2)
    killed = state(settings, "good")
    assert killed and "SIGKILL" in killed.said
    wait_until(
        lambda: (one := state(settings, "good")) and one.failed_loads == 0,
        within_seconds=10,
        what="a start that succeeded is no failed one",
    )
    wait_until(
        lambda: (one := state(settings, "broken")) and "status 1: llama.cpp could not load" in one.said,
        within_seconds=30,
        what="it is told why the broken one does not start",
    )
    wait_until(
        lambda: (one := state(settings, "broken")) and one.failed_loads >= 3,
        within_seconds=40,
        what="it is told how often it failed to load",
    )


def test_a_spec_that_is_none_is_told_and_takes_nothing_along(
    settings: Settings, tending: subprocess.Popen[bytes]
) -> None:
    write_specs(settings.engine_specs_dir, {"good": spec("good")})
    (settings.engine_specs_dir / "odd.json").write_text('{"name": "../odd"}')
    wait_for_ready(settings, "good", slots=2)
    wait_until(
        lambda: any("odd.json" in one for one in read_engine_states(settings).troubles),
        within_seconds=10,
        what="the odd file is told",
    )


def test_no_engine_outlives_who_tends_it(settings: Settings, tending: subprocess.Popen[bytes]) -> None:
    write_specs(settings.engine_specs_dir, {"one": spec("one")})
    wait_for_ready(settings, "one", slots=2)
    engine = engine_process(tending, "one")
    os.kill(tending.pid, signal.SIGKILL)
    wait_until(lambda: not engine.is_running(), within_seconds=15, what="the engine is gone, too")


def tended_until(engine: TendedEngine, happens: Callable[[], object], what: str) -> None:
    def tended() -> object:
        engine.tend()
        return happens()

    wait_until(tended, within_seconds=40, what=what)


def test_an_engine_that_still_loads_is_not_stuck_for_a_quarter_of_an_hour(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped neither loads nor answers."""
    monkeypatch.setattr(tending_module, "ASK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(tending_module, "ASK_TIMEOUT_SECONDS", 0.2)
    settings.engines_dir.mkdir(parents=True, exist_ok=True)
    engine = TendedEngine(spec("one"), settings.engine_socket("one"))
    try:
        os.kill(engine._process.pid, signal.SIGSTOP)
        tended_until(engine, lambda: engine._unanswered > 2 * STUCK_AFTER_ANSWERS, "it was asked in vain")
        assert engine.state().restarts == 0 and engine.state().is_running
        os.kill(engine._process.pid, signal.SIGCONT)
        tended_until(engine, lambda: engine._was_ready, "it is ready")
        os.kill(engine._process.pid, signal.SIGSTOP)
        tended_until(engine, lambda: not engine.state().is_running, "it is killed, for it was ready")
        assert engine.state().said == "It gave no sign of life any more, and was killed."
        tended_until(engine, lambda: engine.state().is_running, "it is back")
        os.kill(engine._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(tending_module, "FIRST_READY_WITHIN_SECONDS", 1.0)
        tended_until(engine, lambda: not engine.state().is_running, "it is killed when that time is over")
    finally:
        engine.stop()


def test_changes_are_stops_and_starts() -> None:
    one, other = spec("one"), spec("one", slots=4)
    assert changes({"one": one}, {"one": one}).stop == ()
    both = changes({"one": other, "new": one}, {"one": one, "old": one})
    assert both.stop == ("one", "old") and both.start == ("one", "new")


def test_writing_what_is_there_changes_nothing(tmp_path: Path) -> None:
    assert write_specs(tmp_path / "engines", {"one": spec("one", settings={"a": True, "b": "x"})})
    assert not write_specs(tmp_path / "engines", {"one": spec("one", settings={"a": True, "b": "x"})})
    specs, unusable = read_specs(tmp_path / "engines")
    assert not unusable and "a=true" in specs["one"].arguments()


def test_heads_of_split_models_are_tended_apart(settings: Settings) -> None:
    """On the image by a service of its own, for they alone call workers."""
    write_specs(settings.engine_specs_dir, {"plain": spec("plain")})
    write_specs(settings.split_specs_dir, {"head": spec("head", settings={"parts": "127.0.0.1:9=2"})})
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.engines.tending", "--only", "split-engines"],
        env=os.environ | settings.environment(),
    )
    try:
        told = wait_until(lambda: state(settings, "head"), within_seconds=20, what="the head is tended")
        wait_until(
            lambda: "The part on 127.0.0.1:9 does not answer" in (state(settings, "head") or told).said,
            within_seconds=20,
            what="why it can't start is told",
        )
        assert state(settings, "plain") is None
    finally:
        process.terminate()
        process.wait(20)
