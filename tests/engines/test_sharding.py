"""A model split over real parts on loopback: same tokens, refusals before loading, the end of a lost part."""

import json
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.endings import PART_LOST_STATUS
from appliance.engines.sharding.parts import (
    PartAddress,
    PartAddressRefused,
    PartsUnreadable,
    PartUse,
    part_address,
    read_parts,
    write_parts,
)
from appliance.engines.sharding.watching import LOST_AFTER_SECONDS
from tests.bench.random_model import Shape, random_model
from tests.conftest import DEMO_MODEL, free_port
from tests.engines.serving import ROOT, RunningEngine, engine_process
from tests.engines.splitting import RunningPart, running_part, start_part
from tests.waiting import wait_until

FOUR_LAYERS = Shape("Random four layers", 1024, 128, 256, 4, 4, 2, head_width=32, context_tokens=2048)
HEAD = (sys.executable, "-m", "appliance.engines", "--name", "test-model")
QUESTIONS = ("What is Cellule?", "How do I add a worker?", "Where is the claim code?")


@pytest.fixture(scope="module")
def four_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models"), FOUR_LAYERS)


def refused(model: Path, parts: str) -> str:
    """What a head says that ends before it has loaded anything."""
    done = subprocess.run(
        [*HEAD, "--model", str(model), "--listen", f"127.0.0.1:{free_port()}", "--setting", f"parts={parts}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def long_answer(engine: RunningEngine, prompt: list[int]) -> list[str]:
    """The tokens one by one, with how likely each was: more than the text tells."""
    reply = engine.complete(prompt, temperature=0, max_tokens=40, ignore_eos=True, logprobs=1)
    assert reply.status == 200, reply.body
    logprobs = reply.json()["choices"][0]["logprobs"]
    pairs = zip(logprobs["tokens"], logprobs["token_logprobs"], strict=True)
    return [f"{token!r} {value:.4f}" for token, value in pairs]


def test_split_in_three_it_makes_the_tokens_of_the_whole(four_layers: Path) -> None:
    prompts = [[7, 300, 41], list(range(260, 330)), [5]]
    with engine_process(four_layers, "--setting", "repack=false", "--threads", "1") as whole:
        expected = [long_answer(whole, prompt) for prompt in prompts]
    with running_part() as first, running_part() as second:
        parts = f"parts={first.holds(1)},{second.holds(2)}"
        with engine_process(four_layers, "--setting", parts, "--threads", "1") as split:
            assert [long_answer(split, prompt) for prompt in prompts] == expected
            assert first.status().used_bytes > 0 and second.status().used_bytes > 0
            assert first.status().used_by == "127.0.0.1"
            told = split.health()["parts"]
            assert [(part["address"], part["layers"]) for part in told] == [
                (str(first.address), 1),
                (str(second.address), 2),
            ]


def test_the_demo_model_answers_alike_with_all_its_layers_elsewhere() -> None:
    with engine_process(DEMO_MODEL, "--setting", "repack=false", "--threads", "1") as whole:
        expected = [whole.chat(question, temperature=0, max_tokens=60).text for question in QUESTIONS]
    with (
        running_part() as part,
        engine_process(DEMO_MODEL, "--setting", f"parts={part.holds(4)}", "--threads", "1") as split,
    ):
        assert [split.chat(question, temperature=0, max_tokens=60).text for question in QUESTIONS] == expected
    assert all(expected)


def test_a_part_that_lends_too_little_is_refused_with_the_sum_before_anything_is_sent() -> None:
    with running_part(memory_bytes=5_000_000) as part:
        before = part.status().used_bytes
        told = refused(DEMO_MODEL, part.holds(3))
        assert f"The part on {part.address} lends" in told
        assert "its 3 layers need" in told and "MB of weights" in told and "tokens of context" in told
        assert part.status().used_bytes <= before + 1_000_000
        assert part.process.poll() is None


def test_the_kernel_holds_a_part_to_what_it_lends() -> None:
    with running_part(memory_bytes=50_000_000) as part:
        limits = Path(f"/proc/{part.process.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max data size"))
        taken = int(Path(f"/proc/{part.process.pid}/statm").read_text().split()[5]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        assert 50_000_000 < int(line.split()[3]) - taken < 200_000_000


def test_the_cache_is_as_large_as_the_parts_have_room_for(four_layers: Path) -> None:
    with (
        running_part(memory_bytes=10_000_000) as part,
        engine_process(four_layers, "--setting", f"parts={part.holds(2)}", "--slots", "64") as split,
    ):
        # 64 contexts of 2048 tokens would take 33 MB there
        assert split.health()["context_tokens"] == 2048
        assert split.complete([5], max_tokens=4, ignore_eos=True).status == 200


def test_a_part_that_is_not_there_is_told(four_layers: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert f"The part on {address} does not answer" in refused(four_layers, f"{address}=2")


def test_more_layers_than_there_are_and_a_broken_file_are_refused(four_layers: Path, tmp_path: Path) -> None:
    with running_part() as part:
        assert "given 9 layers, but the model has 4" in refused(four_layers, part.holds(9))
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(four_layers.read_bytes()[:-1000])
        assert "can't be split" in refused(cut, part.holds(2))


def test_a_part_has_one_head_at_a_time(four_layers: Path) -> None:
    with running_part() as part, engine_process(four_layers, "--setting", f"parts={part.holds(2)}"):
        assert f"The part on {part.address} computes for 127.0.0.1" in refused(four_layers, part.holds(2))


def test_a_part_serves_the_next_head_and_has_its_memory_back(four_layers: Path) -> None:
    with running_part() as part:
        for _ in range(2):
            with engine_process(four_layers, "--setting", f"parts={part.holds(4)}") as head:
                assert head.complete([5], max_tokens=2, ignore_eos=True).status == 200
            wait_until(lambda: not part.status().used_by, within_seconds=10, what="the head has gone")


def ends_because(engine: subprocess.Popen[str], sentence: str) -> None:
    _, log = engine.communicate(timeout=30)
    assert engine.returncode == PART_LOST_STATUS, log
    assert sentence in log
    assert "Traceback" not in log


def start_head(model: Path, part: RunningPart, layers: int) -> RunningEngine:
    port, setting = free_port(), f"parts={part.holds(layers)}"
    process = subprocess.Popen(
        [*HEAD, "--model", str(model), "--listen", f"127.0.0.1:{port}", "--setting", setting],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stderr=subprocess.PIPE,
    )
    head = RunningEngine(process, port, "test-model")  # type: ignore[arg-type]
    wait_until(lambda: head.health()["ready"], within_seconds=30, what="the head is ready")
    return head


def test_a_part_that_is_killed_in_the_middle_of_an_answer_ends_the_head_with_a_reason(
    four_layers: Path,
) -> None:
    with running_part() as part:
        head = start_head(four_layers, part, 2)
        body = {"model": "test-model", "prompt": [5], "stream": True, "ignore_eos": True, "max_tokens": 2000}
        stream = head.raw("/v1/completions", body)
        received = b""
        while b"data: " not in received:
            received += stream.recv(65536)
        part.process.kill()
        stream.settimeout(20)
        received += b"".join(iter(lambda: stream.recv(65536), b""))
        assert b"[DONE]" not in received, "half an answer must not look whole"
        ends_because(head.process, f"The part on {part.address} is lost")  # type: ignore[arg-type]


def test_an_idle_head_notices_that_its_part_was_started_anew(four_layers: Path) -> None:
    with running_part() as part:
        head = start_head(four_layers, part, 2)
        part.process.kill()
        part.process.wait(10)
        with running_part(port=part.address.port):
            ends_because(head.process, f"The part on {part.address} is lost")  # type: ignore[arg-type]


def test_a_part_that_hangs_is_lost_too(four_layers: Path) -> None:
    with running_part() as part:
        head = start_head(four_layers, part, 2)
        part.process.send_signal(signal.SIGSTOP)
        ends_because(head.process, f"is lost: it was silent for {LOST_AFTER_SECONDS:g} s")  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["0.0.0.0:8020", "192.168.1.5:8020", "[::1]:8020", "10.77.0.3"])
def test_a_part_listens_inside_the_tunnel_and_nowhere_else(address: str, four_layers: Path) -> None:
    part = start_part("--listen", address, "--memory-bytes", "10000000")
    _, log = part.communicate(timeout=30)
    assert part.returncode == 1
    assert "tunnel" in log or "is not ADDRESS:PORT" in log
    with pytest.raises((PartAddressRefused, PartsUnreadable)):
        read_parts(f"{address}=2")


def test_a_port_that_is_taken_is_told() -> None:
    with running_part() as part:
        second = start_part("--listen", str(part.address), "--memory-bytes", "10000000")
        _, log = second.communicate(timeout=30)
        assert second.returncode == 1 and "can't listen on" in log
        unknown = start_part(
            "--listen", f"127.0.0.1:{free_port()}", "--memory-bytes", "10000000", "--device", "GPU7"
        )
        _, log = unknown.communicate(timeout=30)
        assert unknown.returncode == 1 and "There is: CPU" in log


def test_a_part_that_is_asked_to_end_ends_well() -> None:
    with running_part() as part:
        part.process.terminate()
        assert part.process.wait(10) == 0


addresses = st.builds(
    PartAddress,
    st.integers(int(IPv4Address("10.77.0.2")), int(IPv4Address("10.77.255.254"))).map(IPv4Address),
    st.integers(1, 65534),
)
uses = st.lists(
    st.builds(PartUse, addresses, st.integers(1, 200)), min_size=1, max_size=15, unique_by=lambda p: p.address
).map(tuple)


@given(uses)
def test_parts_are_read_as_they_were_written(parts: tuple[PartUse, ...]) -> None:
    assert read_parts(write_parts(parts)) == parts


@given(st.text(alphabet="0123456789.:=, 7x-", max_size=60))
def test_whatever_is_written_as_parts_is_read_or_refused(text: str) -> None:
    try:
        parts = read_parts(text)
    except (PartsUnreadable, PartAddressRefused):
        return
    assert parts and json.dumps(write_parts(parts))
    assert all(part_address(str(part.address)) == part.address for part in parts)
