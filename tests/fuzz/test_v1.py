"""Ten thousand requests that nobody would send: never a 5xx, a lost ledger line or a hung slot."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from appliance.settings import Settings
from appliance.storage import open_activity
from tests.conftest import free_port
from tests.fuzz.cases import Case, Fuzzer, documents
from tests.pool.conftest import Box, start_box
from tests.pool.real_engine import MODEL, engine_health, real_engine
from tests.waiting import wait_until

REQUESTS = int(os.environ.get("CELLULE_FUZZ_REQUESTS", "10000"))
SEED = int(os.environ.get("CELLULE_FUZZ_SEED", "1"))
_CLIENTS = 8
_DOCUMENTS = 240
_ANSWER_SECONDS = 30


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    state_dir = tmp_path_factory.mktemp("fuzzed")
    for folder in ("run", "secrets"):
        (state_dir / folder).mkdir(mode=0o700)
    box = start_box(Settings(state_dir=state_dir, port=free_port(), metrics_port=free_port()))
    with real_engine(box, "--slots", "4", "--context-tokens", "256"):
        yield box
    box.stop_all()


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    metered: set[str] = field(default_factory=set)
    may_be_metered: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


async def read_answer(reader: asyncio.StreamReader, method: bytes) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection goes on)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    body = b""
    if method == b"HEAD":
        pass
    elif b"transfer-encoding: chunked" in head:
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        body = await reader.readexactly(length)
    return status, body, b"connection: close" not in head


def judge(case: Case, status: int, body: bytes, seen: Seen) -> None:
    seen.statuses[status] += 1
    if status >= 500:
        seen.wrong.append(f"{status} for {case.wire[:600]!r}: {body[:300]!r}")
    elif status >= 400 and body:
        error = orjson.loads(body)["error"]
        if set(error) != {"message", "type", "param", "code"} or not error["message"]:
            seen.wrong.append(f"no error object for {case.wire[:600]!r}: {body[:300]!r}")


async def client(port: int, fuzzer: Fuzzer, share: int, seen: Seen) -> None:
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for _ in range(share):
        case = fuzzer.next()
        if connection is None:
            connection = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        reader, writer = connection
        writer.write(case.wire)
        if case.leaves:
            await writer.drain()
            seen.may_be_metered.add(case.request_id)
            writer.close()
            connection = None
            continue
        (seen.metered if case.metered else seen.may_be_metered).add(case.request_id)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status, body, goes_on = await read_answer(reader, case.head.split(b" ")[0])
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if case.metered:
                seen.wrong.append(f"no answer ({error}) for {case.wire[:600]!r}")
            goes_on = False
        except TimeoutError:
            seen.wrong.append(f"no answer in {_ANSWER_SECONDS} s for {case.wire[:600]!r}")
            goes_on = False
        else:
            judge(case, status, body, seen)
            goes_on = goes_on and case.metered  # after odd HTTP a new connection starts clean
        if not goes_on:
            writer.close()
            connection = None


async def fuzz(port: int, fuzzer: Fuzzer) -> Seen:
    seen = Seen()
    async with asyncio.TaskGroup() as clients:
        for _ in range(_CLIENTS):
            clients.create_task(client(port, fuzzer, REQUESTS // _CLIENTS, seen))
    return seen


def ledger_ids(state_dir: Path) -> Counter[str]:
    rows = open_activity(state_dir).execute("SELECT request_id FROM ledger")
    return Counter(row[0].partition("~")[0] for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_is_sent_breaks_the_pool(box: Box) -> None:
    made = documents(box.get("/openapi.json").json(), _DOCUMENTS, SEED)
    assert len(made) > _DOCUMENTS / 2
    seen = asyncio.run(fuzz(box.settings.port, Fuzzer(made, box.key.secret, MODEL, SEED)))
    print(f"seed {SEED}: {sum(seen.statuses.values())} answers {dict(sorted(seen.statuses.items()))}")
    assert not seen.wrong, "\n".join(seen.wrong[:10])
    assert seen.statuses[200] > REQUESTS / 100 and seen.statuses[400] > REQUESTS / 10

    wait_until(lambda: engine_health(box)["busy"] == 0, within_seconds=15, what="no slot is held")
    wait_until(
        lambda: seen.metered <= set(ledger_ids(box.settings.state_dir)),
        within_seconds=5,
        what="all is metered",
    )
    counted = ledger_ids(box.settings.state_dir)
    assert max(counted.values()) == 1
    assert set(counted) <= seen.metered | seen.may_be_metered
    wait_until(
        lambda: box.reported()["queue_length"] == 0, within_seconds=5, what="the pool reports an empty queue"
    )
    assert box.chat(MODEL, max_tokens=2).status_code == 200
    assert "Exception in ASGI" not in box.log and '"trace"' not in box.log
