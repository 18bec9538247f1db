"""What the pool believes of its nodes, and when it stops believing."""

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import openai
import pytest

from appliance.engines.options import Kind
from appliance.pool.nodes import EngineHealth, Nodes
from appliance.settings import BOX_NODE
from appliance.upstream import Address
from tests.pool.conftest import Box
from tests.pool.test_relay import raw_request
from tests.pool.upstreams import Asked
from tests.waiting import wait_until


def said(
    at: float, *, node: str = BOX_NODE, ready: bool = True, speed: float = 50, slots: int = 4
) -> EngineHealth:
    return EngineHealth(node, node, Address("127.0.0.1", 1), "m", ready, slots, speed, at, {})


def test_a_node_is_usable_while_it_reports_ready() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100)], {BOX_NODE}, at=100)
    (engine,) = nodes
    assert nodes.usable_models() == ["m"]
    nodes.update([said(101, ready=False)], {BOX_NODE}, at=101)
    assert (engine.unusable, nodes.usable_models(), nodes.models()) == ("not ready", [], ["m"])
    nodes.judge(at=116)
    assert str(engine.unusable) == "silent"


def test_an_engine_that_says_why_it_is_not_ready_is_quoted_while_it_is_heard() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    trouble = "Nothing listens at 127.0.0.1:8000: the server is not running."
    told = replace(said(200, ready=False), report={"trouble": trouble})
    nodes.update([said(100)], {BOX_NODE}, at=100)
    nodes.update([told], {BOX_NODE}, at=200)
    (engine,) = nodes
    assert engine.unusable == trouble
    nodes.judge(at=216)
    assert engine.unusable == "silent"


def test_a_copy_that_does_not_tell_its_kind_changes_nothing_about_the_model() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    told = replace(said(100), report={"kind": "embeddings"})
    nodes.update([told, said(100, node="pc", ready=False)], {BOX_NODE, "pc"}, at=100)
    assert nodes.kinds == {"m": Kind.EMBEDDINGS}
    nodes.update([said(101, ready=False)], {BOX_NODE, "pc"}, at=101)
    assert nodes.kinds == {"m": Kind.EMBEDDINGS}


def test_an_engine_that_is_loaded_anew_keeps_its_kind(box: Box) -> None:
    engine = box.engine("ear", kind="transcription")
    engine.is_loading = True
    wait_until(
        lambda: "ear" not in box.get("/health/ready").json()["models"], within_seconds=5, what="it is out"
    )
    refused = box.chat("ear")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_kind_of_model")


def test_a_silent_node_is_cut_once_and_one_removed_at_once() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100), said(100, node="pc")], {BOX_NODE, "pc"}, at=100)
    reasons: list[str] = []
    for engine in nodes:
        engine.cuts.add(reasons.append)
    nodes.judge(at=114)
    assert reasons == []
    gone = nodes.update([said(115)], {BOX_NODE}, at=115)
    assert [engine.node for engine in gone] == ["pc"] and reasons == ["the node was removed"]
    nodes.judge(at=131)
    assert reasons[1:] == ["box was silent for 15 s"]


def test_an_engine_that_finishes_what_it_answers_is_cut_when_it_is_heard_no_more() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100)], {BOX_NODE}, at=100)
    (engine,) = nodes
    reasons: list[str] = []
    engine.cuts.add(reasons.append)
    stopping = replace(said(118, ready=False), report={"stopping": True})
    for at in (102, 118):
        nodes.update([replace(stopping, seen_at=at)], {BOX_NODE}, at=at)
        assert engine.unusable == "is being stopped" and reasons == []
    nodes.update([said(130, ready=False)], {BOX_NODE}, at=130)
    assert reasons == []
    nodes.judge(at=134)
    assert reasons == ["box was silent for 15 s"]


def test_a_node_that_broke_a_request_is_left_alone_until_it_reports_again() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100)], {BOX_NODE}, at=100)
    (engine,) = nodes
    engine.broke(101)
    nodes.update([said(100)], {BOX_NODE}, at=102)  # the same report read again proves nothing
    assert engine.unusable
    nodes.update([said(103)], {BOX_NODE}, at=103)
    assert not engine.unusable


def test_a_node_not_heard_of_for_very_long_is_forgotten() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100)], {BOX_NODE}, at=100)
    nodes.update([], {BOX_NODE}, at=399)
    assert nodes.models() == ["m"]
    nodes.update([], {BOX_NODE}, at=401)
    assert nodes.models() == []


def test_capacity_is_what_was_measured_seeded_by_what_was_said() -> None:
    nodes = Nodes(silent_seconds=15, forgotten_seconds=300)
    nodes.update([said(100, speed=50)], {BOX_NODE}, at=100)
    (engine,) = nodes
    assert engine.tokens_per_second == 50
    for _ in range(50):
        engine.measure(100, 10)
    assert engine.tokens_per_second == pytest.approx(10, abs=0.1)
    nodes.update([said(101, speed=50)], {BOX_NODE}, at=101)
    assert engine.tokens_per_second == pytest.approx(10, abs=0.1)  # what is measured beats what is said
    engine.measure(2, 0.001)  # too few tokens to say anything
    assert engine.tokens_per_second == pytest.approx(10, abs=0.1)


def test_a_stream_of_a_node_that_falls_silent_ends_as_an_error(box: Box) -> None:
    async def freeze(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        await asked.until_client_left()

    worker = box.worker("frozen", model="frozen", behave=freeze)
    stream = iter(
        box.openai().chat.completions.create(
            model="frozen", messages=[{"role": "user", "content": "x"}], stream=True
        )
    )
    assert next(stream).choices[0].delta.content == "one "
    worker.fall_silent()
    with pytest.raises(openai.APIError, match="broke off"):
        next(stream)
    wait_until(lambda: worker.engine.left == 1, within_seconds=2, what="the node's request is closed")


def test_an_answer_is_whole_although_its_engine_is_being_stopped(box: Box) -> None:
    async def until_let_go(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        while not may_end.is_set():
            await asked.engine.pause()
        await asked.token("two")
        await asked.usage(7, 2)
        await asked.end_stream()

    may_end = threading.Event()
    engine = box.engine("leaving", behave=until_let_go)
    stream = iter(
        box.openai().chat.completions.create(
            model="leaving", messages=[{"role": "user", "content": "x"}], stream=True
        )
    )
    assert next(stream).choices[0].delta.content == "one "
    engine.is_stopping = True
    wait_until(
        lambda: "leaving" not in box.get("/health/ready").json()["models"], within_seconds=5, what="it is out"
    )
    stopped_at = monotonic()
    wait_until(lambda: monotonic() - stopped_at > 2, within_seconds=5, what="a silent node would be cut")
    may_end.set()
    assert [chunk.choices[0].delta.content for chunk in stream if chunk.choices] == ["two"]


def test_an_engine_that_was_taken_away_is_forgotten_at_once(start: Callable[..., Box]) -> None:
    async def freeze(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        await asked.until_client_left()

    box = start(limits={"node_silent_seconds": 60, "own_report_every_seconds": 0.2})
    box.engine("stays")
    engine = box.engine("goes", behave=freeze)
    stream = iter(
        box.openai().chat.completions.create(
            model="goes", messages=[{"role": "user", "content": "x"}], stream=True
        )
    )
    assert next(stream).choices[0].delta.content == "one "
    box.settings.engine_socket("goes").unlink()  # while it still answers on what is open
    with pytest.raises(openai.APIError, match="broke off"):
        next(stream)
    wait_until(lambda: engine.left == 1, within_seconds=2, what="its request is closed")
    wait_until(
        lambda: [one["model"] for one in box.reported(BOX_NODE)["engines"]] == ["stays"],
        within_seconds=5,
        what="the box's report is without it",
    )
    assert box.chat("goes").status_code == 404


def test_work_goes_where_it_is_done_first(box: Box) -> None:
    slow = box.worker("slow", model="shared", tokens_per_second=1)
    fast = box.worker("fast", model="shared", tokens_per_second=1000)
    nodes = [box.chat("shared").headers["x-cellule-node"] for _ in range(5)]
    assert nodes == ["fast"] * 5
    fast.revoke()
    wait_until(
        lambda: box.chat("shared").headers["x-cellule-node"] == slow.name,
        within_seconds=2,
        what="the revoked worker is out",
    )


def test_a_client_that_never_reads_on_loses_its_slot(box: Box) -> None:
    async def pour(asked: Asked) -> None:
        await asked.begin_stream()
        while True:
            await asked.chunk(b"data: " + b"x" * 60_000 + b"\n\n")

    engine = box.engine("stalled", slots=1, behave=pour)
    client = raw_request(box, "stalled")
    wait_until(lambda: engine.busy == 1, within_seconds=3, what="the stream runs")
    wait_until(lambda: engine.busy == 0, within_seconds=6, what="the slot is free again")
    (line,) = box.ledger(1, "model = 'stalled'")
    assert line["outcome"] == "cancelled"
    client.close()
