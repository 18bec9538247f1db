"""The disk is full, or fills while a model comes: refused, nothing left, and the box keeps its reserve."""

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.models import (
    GetState,
    HubOrder,
    StoreFull,
    UploadFile,
    UploadOrder,
    carrying,
    read_get,
    receive_chunk,
    received_bytes,
)
from appliance.models import store as store_module
from tests.models.conftest import ModelBox
from tests.models.hub_server import HubServer
from tests.models.test_getting import stick
from tests.waiting import wait_until


def fill(filler: Path, *, leave: int) -> None:
    """Somebody else takes the rest of the disk."""
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(filler.parent).free - leave)


@pytest.mark.root
@pytest.mark.parametrize("noticed_by", ["the core", "the process that writes"])
def test_a_disk_that_fills_in_mid_download(
    small_disk: ModelBox, hub: HubServer, order: HubOrder, noticed_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = hub.elsewhere
    assert elsewhere
    box = small_disk
    box.choose(internet_allowed=True, hub_url=hub.url)
    elsewhere.faults.slow_bytes = 1_000_000
    get = box.ask("tiny", order)
    turn = threading.Thread(target=box.turn)
    turn.start()
    part = box.settings.state_dir / "models" / "incoming" / get.incoming_name / "tiny-Q8_0.gguf.part"
    wait_until(lambda: part.stat().st_size > 900_000, within_seconds=60, what="the first bytes are here")
    if noticed_by != "the core":
        monkeypatch.setattr(store_module, "reserve_bytes", lambda disk_bytes: 0)
    filler = box.settings.state_dir / "filler"
    fill(filler, leave=300_000)
    elsewhere.go_on.set()
    turn.join(60)
    assert not turn.is_alive()
    ended = read_get(box.activity, get.id)
    assert (ended.state, ended.code) == (GetState.REFUSED, "model_store_full"), ended.sentence
    assert box.incoming() == [], "what came is gone, so that the box has its disk again"
    filler.unlink()
    elsewhere.faults.slow_bytes = None
    assert box.get("tiny", order).state is GetState.DONE


@pytest.mark.root
def test_a_chunk_for_which_there_is_no_room_leaves_nothing(small_disk: ModelBox) -> None:
    box = small_disk
    get = box.ask("big", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=5_000_000),)))
    filler = box.settings.state_dir / "filler"
    fill(filler, leave=500_000)

    def send() -> None:
        receive_chunk(
            box.settings.state_dir, box.activity, get.id, path="a.gguf", offset=0, data=b"x" * 2_000_000
        )

    with pytest.raises(StoreFull):
        send()
    assert received_bytes(box.settings.state_dir, get) == {"a.gguf": 0}
    filler.unlink()
    send()


@pytest.mark.root
def test_a_chunk_leaves_the_box_its_reserve(small_disk: ModelBox) -> None:
    """Two uploads together, or somebody else beside one, must not fill the disk that all else needs."""
    box = small_disk
    get = box.ask("big", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=5_000_000),)))
    fill(box.settings.state_dir / "filler", leave=2_200_000)
    with pytest.raises(StoreFull):
        receive_chunk(
            box.settings.state_dir, box.activity, get.id, path="a.gguf", offset=0, data=b"x" * 2_000_000
        )
    assert received_bytes(box.settings.state_dir, get) == {"a.gguf": 0}


@pytest.mark.root
def test_room_that_an_upload_waits_for_is_not_given_to_another(small_disk: ModelBox) -> None:
    box = small_disk
    box.ask("one", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=6_000_000),)))
    with pytest.raises(StoreFull):
        box.ask("two", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=6_000_000),)))


@pytest.mark.root
def test_a_disk_that_fills_while_a_stick_is_copied(
    small_disk: ModelBox, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = small_disk
    box.put_on_stick(small_gguf)
    monkeypatch.setattr(carrying, "_CHUNK_BYTES", 2**20)
    begun = carrying._begin_anew_if_changed

    def then_somebody_fills_it(files: Mapping[str, Path], target: Path) -> None:
        begun(files, target)
        fill(box.settings.state_dir / "filler", leave=2_500_000)

    monkeypatch.setattr(carrying, "_begin_anew_if_changed", then_somebody_fills_it)
    get = box.get("small", stick(small_gguf.name))
    assert (get.state, get.code) == (GetState.REFUSED, "model_store_full"), get.sentence
    assert "which the box needs for itself" in get.sentence and box.incoming() == []
