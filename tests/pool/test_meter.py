"""The ledger: one line a request, equal to what was answered, none lost at the end."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from appliance.pool.kinds import Endpoint
from appliance.pool.meter import LedgerLine, Meter, Outcome, new_request_id
from appliance.storage import open_activity
from tests.pool.conftest import Box
from tests.pool.test_relay import raw_request
from tests.pool.upstreams import Asked
from tests.waiting import wait_until


def line(**changed: object) -> LedgerLine:
    plain = LedgerLine(
        1.0,
        new_request_id(),
        "k",
        None,
        Endpoint.CHAT,
        "m",
        "box",
        1,
        7,
        3,
        0.1,
        0.2,
        0.3,
        Outcome.ANSWERED,
        200,
    )
    return plain._replace(**changed)  # type: ignore[arg-type]


def test_the_ledger_equals_what_was_answered(box: Box) -> None:
    async def by_prompt(asked: Asked) -> None:
        words = asked.document["messages"][0]["content"].split()
        usage = {"prompt_tokens": len(words), "completion_tokens": int(words[0]), "total_tokens": 0}
        if not asked.document.get("stream"):
            await asked.respond(200, {"choices": [], "usage": usage})
            return
        await asked.begin_stream()
        for _ in range(int(words[0])):
            await asked.token("x")
        await asked.usage(len(words), int(words[0]))
        await asked.end_stream()

    box.engine("counted-tokens", slots=8, behave=by_prompt)
    prompts = [" ".join([str(number)] * (number % 5 + 1)) for number in range(80)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(
                lambda prompt: box.chat("counted-tokens", prompt, stream=len(prompt) % 2 == 0), prompts
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    lines = box.ledger(80, "model = 'counted-tokens'")
    expected = sorted((len(prompt.split()), int(prompt.split()[0])) for prompt in prompts)
    assert sorted((row["tokens_in"], row["tokens_out"]) for row in lines) == expected
    assert {row["request_id"] for row in lines} == {answer.headers["x-request-id"] for answer in answers}
    for row in lines:
        assert 0 <= row["queue_seconds"] <= row["duration_seconds"] < 10
    # an answer sent whole shows nobody its first token
    first = [row["first_token_seconds"] for row in lines if row["first_token_seconds"] is not None]
    assert len(first) == sum(len(prompt) % 2 == 0 for prompt in prompts)
    assert all(0 < seconds < 10 for seconds in first)
    text = box.metrics()
    out = sum(int(prompt.split()[0]) for prompt in prompts)
    assert f'cellule_pool_generated_tokens_total{{model="counted-tokens",node="box"}} {float(out)}' in text
    assert 'cellule_pool_requests_total{model="counted-tokens",node="box",outcome="answered"} 80.0' in text
    for histogram, count in (("queue", 80), ("first_token", len(first)), ("duration", 80)):
        line = f'cellule_pool_{histogram}_seconds_bucket{{le="+Inf",model="counted-tokens"}} {float(count)}'
        assert line in text


def test_no_line_is_lost_when_the_pool_is_stopped_in_mid_stream(start: Callable[..., Box]) -> None:
    box = start()
    talking = threading.Event()

    async def talk_forever(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        talking.set()
        await asked.until_client_left()

    engine = box.engine("stopped", slots=1, behave=talk_forever)
    streaming = raw_request(box, "stopped")
    assert talking.wait(5)
    queued = raw_request(box, "stopped", stream=False)
    for _ in range(3):
        assert box.chat("unknown").status_code == 404
    box.process.send_signal(signal.SIGTERM)
    assert box.process.wait(20) == 0
    received = b"".join(iter(lambda: streaming.recv(65536), b""))
    assert b"answer_interrupted" in received
    assert b"HTTP/1.1 503" in queued.recv(65536)
    assert engine.left == 1
    rows = list(open_activity(box.settings.state_dir)["ledger"].rows)
    assert sorted((row["outcome"], row["status"]) for row in rows) == [
        ("failed", 503), ("interrupted", 200), ("refused", 404), ("refused", 404), ("refused", 404),
    ]  # fmt: skip


def test_a_disk_that_refuses_for_a_while_loses_nothing(tmp_path: Path) -> None:
    database = open_activity(tmp_path)
    database.execute("ALTER TABLE ledger RENAME TO away")
    with (tmp_path / "log").open("w") as log:
        meter = Meter(tmp_path, 0.05, log)
        meter.start()
        lines = [line() for _ in range(5)]
        for one in lines:
            meter.record(one)
        meter.record(line(tokens_in=2**53))
        threading.Event().wait(0.2)  # several writes fail meanwhile
        database.execute("ALTER TABLE away RENAME TO ledger")
        wait_until(lambda: database["ledger"].count == 6, within_seconds=3, what="the lines are written")
        meter.stop()
    logged = [orjson.loads(text) for text in (tmp_path / "log").read_text().splitlines()]
    assert [entry["request_id"] for entry in logged][:5] == [one.request_id for one in lines]


def test_the_pool_reports_itself_for_the_overview(box: Box) -> None:
    box.engine("reported")
    wait_until(
        lambda: box.reported()["in_flight"].get("box") == 0, within_seconds=5, what="the pool's own report"
    )
    told = {"queue_length": 0, "waiting": {}, "in_flight": {}, "max_queue": 256}
    assert box.reported() | {"in_flight": {}} == told
    database = open_activity(box.settings.state_dir)

    def engines() -> list[str]:
        row = database.execute("SELECT report FROM node_reports WHERE node = 'box'").fetchone()
        return [engine["model"] for engine in orjson.loads(row[0])["engines"]]

    wait_until(lambda: "reported" in engines(), within_seconds=5, what="the box's report")
