"""Several gets at once: a small one is not held up by a large one, and nothing is promised twice."""

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from appliance.models import CarriedOrder, Get, GetState, HubOrder, ask_cancel, getting, read_get
from appliance.models import gets as gets_module
from appliance.models import store as store_module
from appliance.models.getting import DiskTrouble
from appliance.models.layout import engine_path
from appliance.models.turns import MOST_AT_ONCE, turns
from tests.models.conftest import ModelBox
from tests.models.hub_server import HubServer
from tests.waiting import wait_until


@pytest.fixture
def online(box: ModelBox, hub: HubServer, tiny_gguf: Path) -> ModelBox:
    """With a small model on its stick beside it."""
    box.choose(internet_allowed=True, hub_url=hub.url)
    box.put_on_stick(tiny_gguf)
    return box


@pytest.fixture
def small(tiny_gguf: Path) -> CarriedOrder:
    return CarriedOrder(origin="stick", path=tiny_gguf.name)


@contextmanager
def coming(box: ModelBox, elsewhere: HubServer, order: HubOrder, count: int = 1) -> Iterator[list[Get]]:
    """Large models of which the first bytes are here, and whose hub lets no more of them come."""
    elsewhere.faults.slow_bytes = 2**20
    gets = [box.ask(f"large-{number}", order) for number in range(count)]
    threads = [threading.Thread(target=box.turn_elsewhere) for _ in gets]
    for thread in threads:
        thread.start()
    incoming = box.settings.state_dir / "models" / "incoming"
    parts = [incoming / get.incoming_name / "tiny-Q8_0.gguf.part" for get in gets]
    wait_until(
        lambda: all(part.exists() and part.stat().st_size == 2**20 for part in parts),
        within_seconds=60,
        what="the first bytes of each are here",
    )
    try:
        yield gets
    finally:
        elsewhere.go_on.set()
        for thread in threads:
            thread.join(60)


def test_a_small_model_does_not_wait_for_a_large_one(
    online: ModelBox, elsewhere: HubServer, order: HubOrder, small: CarriedOrder
) -> None:
    with coming(online, elsewhere, order) as [large]:
        assert online.get("small", small).state is GetState.DONE
        assert read_get(online.activity, large.id).state is GetState.FETCHING
    assert read_get(online.activity, large.id).state is GetState.DONE


def test_whoever_waits_is_cancelled_at_once(
    online: ModelBox, elsewhere: HubServer, order: HubOrder, small: CarriedOrder
) -> None:
    with coming(online, elsewhere, order, MOST_AT_ONCE):
        waiting = online.get("small", small)
        assert waiting.state is GetState.WAITING, "as many are at work as may be"
        ask_cancel(online.activity, waiting.id)
        assert "cancelled" in online.turn()
        assert read_get(online.activity, waiting.id).state is GetState.CANCELLED


def test_what_the_store_has_already_is_read_without_its_lock_and_can_be_cancelled(
    box: ModelBox, tiny_gguf: Path, small: CarriedOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.put_on_stick(tiny_gguf)
    assert box.get("first", small).state is GetState.DONE
    second = box.ask("second", small)
    read = store_module._sha256

    def reading(path: Path, on_bytes: Callable[[int], None]) -> str:
        with (box.settings.state_dir / "models" / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ask_cancel(box.activity, second.id)
        return read(path, on_bytes)

    monkeypatch.setattr(store_module, "_sha256", reading)
    monkeypatch.setattr(gets_module, "_REPORT_STEP_BYTES", 1)
    box.turn()
    assert read_get(box.activity, second.id).state is GetState.CANCELLED
    assert box.incoming() == []


def test_a_damaged_file_of_the_store_is_mended_by_a_get_of_the_same(
    box: ModelBox, tiny_gguf: Path, small: CarriedOrder
) -> None:
    box.put_on_stick(tiny_gguf)
    box.get("first", small)
    damaged = engine_path(box.settings.state_dir, box.model("first").bundle)
    damaged.chmod(0o644)
    damaged.write_bytes(b"\0" * damaged.stat().st_size)
    assert box.get("second", small).state is GetState.DONE
    assert damaged.read_bytes() == tiny_gguf.read_bytes()


def test_one_reads_a_stick_at_a_time(online: ModelBox, small: CarriedOrder) -> None:
    first = online.ask("first", small)
    with turns.claimed(first), turns.begun(first) as may_begin:
        assert may_begin
        assert online.get("second", small).state is GetState.WAITING
    online.turn()
    online.turn()
    assert {online.model(name).name for name in ("first", "second")} == {"first", "second"}


def test_nobody_takes_up_a_get_that_another_is_at(online: ModelBox, small: CarriedOrder) -> None:
    asked = online.ask("small", small)
    with ExitStack() as other:
        assert other.enter_context(turns.claimed(asked))
        ask_cancel(online.activity, asked.id)
        assert online.turn() == ""
    assert "cancelled" in online.turn()


def test_room_is_promised_once(
    online: ModelBox, hub: HubServer, order: HubOrder, small: CarriedOrder, tiny_gguf: Path
) -> None:
    elsewhere = hub.elsewhere
    assert elsewhere
    quota_bytes = len(hub.content.files["tiny-Q8_0.gguf"]) + tiny_gguf.stat().st_size // 2
    online.choose(internet_allowed=True, hub_url=hub.url, quota_bytes=quota_bytes)
    with coming(online, elsewhere, order) as [large]:
        refused = online.get("small", small)
        assert (refused.state, refused.code) == (GetState.REFUSED, "model_store_full")
    assert read_get(online.activity, large.id).state is GetState.DONE


def test_a_get_that_waits_goes_on_though_the_clock_was_set_back_by_years(
    box: ModelBox, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise DiskTrouble("The disk gave an error.", retry_after_seconds=60)

    years = 10 * 365 * 86400.0
    box.put_on_stick(tiny_gguf)
    box.at += years
    with monkeypatch.context() as until_then:
        until_then.setattr(getting, "copy_model", cut)
        get = box.get("tiny", CarriedOrder(origin="stick", path=tiny_gguf.name))
    assert get.state is GetState.WAITING and box.turn() == ""
    box.at -= years
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.DONE
