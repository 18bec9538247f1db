"""Waiting for a slot: fair, bounded, told, and ended by the client's leaving or the limit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.models.making_way import keep_making_way
from appliance.models.unloadable import keep_unloadable
from appliance.settings import BOX_NODE
from tests.pool.conftest import Box
from tests.pool.test_relay import in_background, raw_request
from tests.pool.upstreams import Asked, ScriptedEngine, answer
from tests.waiting import wait_until


class Gate:
    """Engines behind it answer one request for each `pass_one`."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)

    def pass_one(self) -> None:
        self._passes.release()

    async def behave(self, asked: Asked) -> None:
        while not self._passes.acquire(blocking=False):
            await asked.engine.pause()
        await answer(asked)


def waiting_in(box: Box) -> int:
    line = next(line for line in box.metrics().splitlines() if line.startswith("cellule_pool_queue_length"))
    return int(float(line.split()[1]))


def wait_for_queue(box: Box, length: int) -> None:
    wait_until(lambda: waiting_in(box) == length, within_seconds=3, what=f"{length} are waiting")


def test_two_keys_take_turns_and_everyone_learns_their_place(start: Callable[..., Box]) -> None:
    box = start(limits={"queue_wait_seconds": 30})
    gate = Gate()
    engine: ScriptedEngine = box.engine("fair", slots=1, behave=gate.behave)
    other = box.new_key("other")
    with ThreadPoolExecutor(16) as clients:
        busy = [clients.submit(box.chat, "fair", "busy 0")]
        wait_until(lambda: engine.busy == 1, within_seconds=3, what="the slot is taken")
        for number in range(1, 6):
            busy.append(clients.submit(box.chat, "fair", f"busy {number}"))
            wait_for_queue(box, number)
        single = [clients.submit(box.chat, "fair", "other 0", secret=other.secret)]
        wait_for_queue(box, 6)
        single.append(clients.submit(box.chat, "fair", "other 1", secret=other.secret))
        wait_for_queue(box, 7)
        for _ in range(8):
            gate.pass_one()
        answers = [future.result() for future in busy + single]
    assert engine.prompts == [
        "busy 0",
        "busy 1",
        "other 0",
        "busy 2",
        "other 1",
        "busy 3",
        "busy 4",
        "busy 5",
    ]
    places = [int(response.headers["x-cellule-queue-position"]) for response in answers]
    assert places == [0, 1, 2, 3, 4, 5, 2, 4]
    lines = box.ledger(8, "model = 'fair'")
    assert sum(line["queue_seconds"] > 0.001 for line in lines) == 7


def test_a_full_queue_refuses_with_429_and_says_when_to_come_again(start: Callable[..., Box]) -> None:
    box = start(queue_limit=1)
    gate = Gate()
    engine = box.engine("full", slots=1, behave=gate.behave)
    first = in_background(lambda: box.chat("full"))
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the slot is taken")
    second = in_background(lambda: box.chat("full"))
    wait_for_queue(box, 1)
    refused = box.chat("full")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0
    gate.pass_one()
    gate.pass_one()
    assert {first.result(5).status_code, second.result(5).status_code} == {200}


def test_who_leaves_the_queue_is_never_sent_to_a_node(box: Box) -> None:
    gate = Gate()
    engine = box.engine("left", slots=1, behave=gate.behave)
    first = in_background(lambda: box.chat("left", "first"))
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the slot is taken")
    leaver = raw_request(box, "left")
    wait_for_queue(box, 1)
    leaver.close()
    wait_for_queue(box, 0)
    gate.pass_one()
    assert first.result(5).status_code == 200
    lines = box.ledger(2, "model = 'left'")
    assert sorted((line["outcome"], line["attempts"]) for line in lines) == [
        ("answered", 1),
        ("cancelled", 0),
    ]
    assert engine.prompts == ["first"]


def test_when_no_node_answers_in_time_the_answer_is_503(start: Callable[..., Box]) -> None:
    box = start(limits={"load_wait_seconds": 2})
    engine = box.engine("asleep")
    engine.ready = False
    wait_until(
        lambda: "asleep" not in box.get("/health/ready").json()["models"], within_seconds=5, what="it is out"
    )
    response = box.chat("asleep")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_node_available")
    assert int(response.headers["retry-after"]) > 0
    (line,) = box.ledger(1, "model = 'asleep'")
    assert (line["outcome"], line["status"], line["attempts"]) == ("failed", 503, 0)
    assert line["queue_seconds"] == pytest.approx(2, abs=0.5)


def test_a_request_waits_for_a_node_that_comes_back(box: Box) -> None:
    engine = box.engine("returning")
    engine.ready = False
    wait_until(
        lambda: "returning" not in box.get("/health/ready").json()["models"],
        within_seconds=5,
        what="it is out",
    )
    waiting = in_background(lambda: box.chat("returning"))
    wait_for_queue(box, 1)
    engine.ready = True
    assert waiting.result(5).status_code == 200


def test_no_slot_is_given_twice(box: Box) -> None:
    most = 0

    async def count(asked: Asked) -> None:
        nonlocal most
        most = max(most, asked.engine.busy)
        await asked.engine.pause(0.005)
        await answer(asked)

    box.engine("slotted", slots=3, behave=count)
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda _: box.chat("slotted"), range(60)))
    assert {response.status_code for response in answers} == {200}
    assert most == 3
    box.ledger(60, "model = 'slotted' AND outcome = 'answered'")


def hold(box: Box, name: str, facts: str = "{}") -> None:
    """A model that lies on the box, as a get leaves it."""
    with box.cellule() as db:
        db["models"].insert(
            {
                "name": name,
                "digest": "0" * 64,
                "bundle": "{}",
                "facts": facts,
                "source": "a test",
                "added_at": 1,
            }
        )


def listed(box: Box) -> dict[str, dict[str, object]]:
    models = box.get("/v1/models", authorization=f"Bearer {box.key.secret}").json()["data"]
    return {model["id"]: model for model in models}


def test_a_model_that_lies_on_the_box_is_waited_for_until_it_is_loaded(start: Callable[..., Box]) -> None:
    box = start(limits={"queue_wait_seconds": 1, "own_report_every_seconds": 0.2})
    box.engine("other")
    hold(box, "asleep")
    wait_until(lambda: "asleep" in listed(box), within_seconds=5, what="the held model is offered")
    assert listed(box)["asleep"]["loaded"] is False and "loaded" not in listed(box)["other"]
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(box.chat, "asleep")
        wait_until(
            lambda: box.reported()["waiting"] == {"asleep": 1},
            within_seconds=5,
            what="the pool tells who waits",
        )
        box.engine("asleep")
        answered = asked.result(timeout=20)
    assert answered.status_code == 200 and answered.headers["x-cellule-model"] == "asleep"
    assert "loaded" not in listed(box)["asleep"]


def test_a_model_that_no_node_can_load_is_told_in_time(start: Callable[..., Box]) -> None:
    box = start(limits={"load_wait_seconds": 1})
    box.engine("other")
    hold(box, "asleep")
    wait_until(lambda: "asleep" in listed(box), within_seconds=5, what="the held model is offered")
    answered = box.chat("asleep")
    assert answered.status_code == 503 and "could load 'asleep'" in answered.json()["error"]["message"]


def test_a_request_for_what_no_node_can_load_is_refused_at_once_with_the_reason(
    start: Callable[..., Box],
) -> None:
    box = start(limits={"load_wait_seconds": 30})
    box.engine("other")
    hold(box, "huge")
    wait_until(lambda: "huge" in listed(box), within_seconds=5, what="the held model is offered")
    waiting = in_background(lambda: box.chat("huge"))
    wait_for_queue(box, 1)
    with box.cellule() as db:
        keep_unloadable(db, {"huge": "No node can run it: box has 4 GiB left, and it needs 36."})
    for refused in (waiting.result(5), box.chat("huge")):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (404, "model_fits_no_node")
        assert "box has 4 GiB left, and it needs 36. Ask another model" in error["message"]
    wait_for_queue(box, 0)
    box.engine("huge")
    wait_until(lambda: box.chat("huge").status_code == 200, within_seconds=8, what="by hand it is loaded")


def test_an_engine_that_makes_way_finishes_its_answer_and_is_given_no_more(start: Callable[..., Box]) -> None:
    """Who waited for its slot waits on, as for any model that is to be loaded."""
    box = start(limits={"queue_wait_seconds": 2, "load_wait_seconds": 60})
    gate = Gate()
    engine = box.engine("going", slots=2, behave=gate.behave)
    first = in_background(lambda: box.chat("going", "first"))
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="it answers")
    with box.cellule() as db:
        keep_making_way(db, {(BOX_NODE, "going")})
    wait_until(lambda: not box.get("/health/ready").json()["ready"], within_seconds=5, what="it makes way")
    second = in_background(lambda: box.chat("going", "second"))
    wait_for_queue(box, 1)
    gate.pass_one()
    assert first.result(5).status_code == 200
    assert engine.prompts == ["first"] and waiting_in(box) == 1
    with box.cellule() as db:
        keep_making_way(db, frozenset())
    gate.pass_one()
    assert second.result(5).status_code == 200


def test_a_model_that_is_not_loaded_is_known_by_what_it_is_for(box: Box) -> None:
    box.engine("other")
    hold(box, "asleep", facts='{"kind": "embeddings"}')
    wait_until(lambda: "asleep" in listed(box), within_seconds=5, what="the held model is offered")
    refused = box.chat("asleep")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_kind_of_model")


def test_a_model_that_can_not_be_loaded_leaves_the_queue_to_others(start: Callable[..., Box]) -> None:
    box = start(queue_limit=3, limits={"load_wait_seconds": 3, "load_queue_limit": 2})
    gate = Gate()
    engine = box.engine("other", slots=1, behave=gate.behave)
    hold(box, "asleep")
    wait_until(lambda: "asleep" in listed(box), within_seconds=5, what="the held model is offered")
    waiting = [in_background(lambda: box.chat("asleep")) for _ in range(2)]
    wait_for_queue(box, 2)
    refused = box.chat("asleep")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_not_loaded")
    busy = in_background(lambda: box.chat("other"))
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the slot is taken")
    queued = in_background(lambda: box.chat("other"))
    wait_for_queue(box, 3)
    gate.pass_one()
    gate.pass_one()
    assert (busy.result(5).status_code, queued.result(5).status_code) == (200, 200)
    assert [one.result(10).status_code for one in waiting] == [503, 503]


def test_a_model_that_is_loaded_anew_is_waited_for_as_long_as_loading_takes(
    start: Callable[..., Box],
) -> None:
    """Although its engine is known: loading takes longer than a slot takes to be free."""
    box = start(limits={"queue_wait_seconds": 0.5, "load_wait_seconds": 30})
    engine = box.engine("returning")
    engine.is_loading = True
    wait_until(
        lambda: "returning" not in box.get("/health/ready").json()["models"],
        within_seconds=5,
        what="it is out",
    )
    asked = in_background(lambda: box.chat("returning"))
    wait_for_queue(box, 1)
    with pytest.raises(TimeoutError):
        asked.result(1.5)
    engine.is_loading = False
    assert asked.result(10).status_code == 200
