"""A prompt that one node's accelerator can't take is answered by another, and refused only where none can."""

import shutil
from pathlib import Path

import orjson
import pytest

from appliance.pool.ask import read_ask
from appliance.pool.kinds import Endpoint
from appliance.pool.queue import FairQueue, Ticket
from tests.conftest import DEMO_MODEL
from tests.engines.contract_engines import NPU_ON_CPU, setting_arguments
from tests.engines.serving import engine_process
from tests.pool.conftest import Box
from tests.pool.real_engine import MODEL, real_engine
from tests.pool.test_relay import in_background
from tests.pool.test_waiting import Gate, wait_for_queue
from tests.pool.upstreams import Asked
from tests.pool.workers import ScriptedWorker
from tests.waiting import wait_until

SHORT, LONG = "hello", "hello there " * 500
FAST = {"tokens_per_second": 1000.0}


async def refuse_as_too_long(asked: Asked) -> None:
    """What the engine server says when only it can't take the prompt."""
    error = {"message": "too long here", "type": "invalid_request_error", "param": "messages"}
    await asked.respond(400, orjson.dumps({"error": {**error, "code": "prompt_too_long_here"}}))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("x" * 800, 100), ([5] * 800, 800), (["x" * 80, "x" * 800], 100), ([[5], [5] * 9], 9)],
)
def test_the_length_of_a_plain_prompt_is_counted_or_underestimated(prompt: object, tokens: int) -> None:
    body = orjson.dumps({"model": "m", "prompt": prompt})
    assert read_ask(Endpoint.COMPLETIONS, body).prompt_tokens == tokens


def test_the_length_of_a_conversation_is_that_of_all_its_messages() -> None:
    parts = [{"type": "text", "text": "x" * 400}, {"type": "text", "text": "x" * 400}]
    messages = [
        {"role": "system", "content": "x" * 800},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None},
    ]
    assert read_ask(Endpoint.CHAT, orjson.dumps({"model": "m", "messages": messages})).prompt_tokens == 200


def test_a_ticket_that_nothing_free_suits_keeps_its_place_and_lets_others_pass() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for name in ("long", "short"):
        queue.join(Ticket("m", f"caller of {name}", name))
    served: list[str] = []

    def only_short(ticket: Ticket[str]) -> bool | None:
        if ticket.waiter == "long":
            return None
        served.append(ticket.waiter)
        return True

    queue.serve("m", only_short)
    assert served == ["short"] and len(queue) == 1
    queue.serve("m", lambda ticket: ticket.waiter == "long")
    assert len(queue) == 0


def test_a_long_prompt_goes_past_the_faster_node_that_can_not_take_it(box: Box) -> None:
    npu = box.worker("npu", model="limited", prompt_tokens=256, **FAST)
    cpu = box.worker("cpu", model="limited", tokens_per_second=1.0)
    assert box.chat("limited", SHORT).headers["x-cellule-node"] == "npu"
    assert box.chat("limited", LONG).headers["x-cellule-node"] == "cpu"
    assert len(npu.engine.asked) == len(cpu.engine.asked) == 1


def test_what_only_the_engine_can_count_is_tried_elsewhere_and_breaks_nothing(box: Box) -> None:
    npu = box.worker("npu2", model="counted", prompt_tokens=4096, behave=refuse_as_too_long, **FAST)
    box.worker("cpu2", model="counted", tokens_per_second=1.0)
    for asked, stream in ((1, False), (2, True)):
        response = box.chat("counted", LONG, stream=stream)
        assert response.status_code == 200 and response.headers["x-cellule-node"] == "cpu2"
        assert len(npu.engine.asked) == asked, "it was asked again: it is not taken for broken"
    lines = box.ledger(2, "model = 'counted'")
    assert [line["outcome"] for line in lines] == ["answered", "answered"]


def test_where_no_node_can_take_it_the_caller_learns_the_limit_at_once(box: Box) -> None:
    npu = box.worker("npu3", model="narrow", prompt_tokens=256, **FAST)
    response = box.chat("narrow", LONG)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "context_length_exceeded" and error["param"] == "messages"
    assert "256 tokens" in error["message"]
    assert not npu.engine.asked, "no node was troubled"


def test_where_every_node_refused_it_the_caller_learns_that_too(box: Box) -> None:
    workers = [
        box.worker(name, model="refusing", prompt_tokens=4096, behave=refuse_as_too_long)
        for name in ("npu4", "npu5")
    ]
    response = box.chat("refusing", LONG)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert [len(worker.engine.asked) for worker in workers] == [1, 1]


def test_a_long_prompt_that_waits_does_not_hold_up_the_short_ones(box: Box) -> None:
    gate = Gate()
    box.worker("npu6", model="mixed", prompt_tokens=256, slots=1, **FAST)
    box.worker("cpu6", model="mixed", slots=1, behave=gate.behave, tokens_per_second=1.0)
    first = in_background(lambda: box.chat("mixed", LONG))
    wait_until(lambda: box.workers[-1].engine.busy, within_seconds=3, what="the other node is busy")
    second = in_background(lambda: box.chat("mixed", LONG))
    wait_for_queue(box, 1)
    other = box.new_key("other of mixed")
    assert box.chat("mixed", SHORT, secret=other.secret).headers["x-cellule-node"] == "npu6"
    gate.pass_one()
    gate.pass_one()
    assert {first.result().headers["x-cellule-node"], second.result().headers["x-cellule-node"]} == {"cpu6"}


def test_real_engines_an_npu_with_a_limit_and_a_processor_beside_it(box: Box, tmp_path: Path) -> None:
    model = Path(shutil.copy(DEMO_MODEL, tmp_path))
    npu = (
        "--engine",
        "openvino",
        "--device",
        "NPU",
        "--prompt-tokens",
        "128",
        *setting_arguments(NPU_ON_CPU),
    )
    with engine_process(model, *npu, name=MODEL) as limited, real_engine(box):
        worker = ScriptedWorker(
            box.settings, "npu-pc", 1, model=MODEL, port=limited.port, prompt_tokens=128, slots=1,
            tokens_per_second=1e6,
        )  # fmt: skip
        box.workers.append(worker)
        wait_until(lambda: 'node="worker-npu-pc"} 1.0' in box.metrics(), within_seconds=5, what="it is used")
        question = "What is Cellule?"
        assert box.chat(MODEL, question, temperature=0).headers["x-cellule-node"] == "npu-pc"
        clearly = box.chat(MODEL, f"{question} " * 200, temperature=0, max_tokens=4)
        assert clearly.status_code == 200 and clearly.headers["x-cellule-node"] == "box"
        # by its characters it might fit: the engine itself counts, and refuses before it computes
        barely = box.chat(MODEL, f"{question} " * 40, temperature=0, max_tokens=4)
        assert barely.status_code == 200 and barely.headers["x-cellule-node"] == "box"
        assert barely.json()["usage"]["prompt_tokens"] > 128
        assert limited.metric("requests_total", '{outcome="refused"}') == 1
        assert box.chat(MODEL, question, temperature=0).headers["x-cellule-node"] == "npu-pc"
