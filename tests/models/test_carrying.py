"""Copies from a stick that were cut off: they go on where they were, and wait for a medium that is away."""

import errno
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.models import CarriedOrder, Get, GetState, getting, medium, read_get
from appliance.models import carrying as carrying_module
from appliance.models.carrying import copy_model
from appliance.models.store import Store
from tests.models.conftest import ModelBox
from tests.models.test_full_disk import fill
from tests.models.test_getting import stick


class Cut(Exception):
    """As if the core ended."""


def begin_copying(box: ModelBox, get: Get, up_to: int) -> Path:
    """What a core leaves that ended in mid-copy."""
    come = 0

    def count(count_bytes: int) -> None:
        nonlocal come
        come += count_bytes
        if come >= up_to:
            raise Cut

    folder = box.settings.state_dir / "models" / "incoming" / get.incoming_name
    assert isinstance(get.order, CarriedOrder)
    with suppress(Cut), medium(box.settings, box.host, get.order.origin) as carried:
        copy_model(carried, get.order, folder, count)
    return folder / get.order.path


def test_a_copy_goes_on_where_it_was(
    box: ModelBox, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying_module, "_CHUNK_BYTES", 2**16)
    box.put_on_stick(small_gguf)
    asked = box.ask("small", stick(small_gguf.name))
    part = begin_copying(box, asked, 2**20)
    assert part.stat().st_size == 2**20
    come: list[int] = []
    with medium(box.settings, box.host, "stick") as folder:
        copy_model(folder, stick(small_gguf.name), part.parent, come.append)
    assert come[0] == 2**20 and sum(come) == small_gguf.stat().st_size
    box.turn()
    assert box.model("small").digest == hashlib.sha256(small_gguf.read_bytes()).hexdigest()


def test_a_stick_that_is_pulled_is_waited_for(box: ModelBox, small_gguf: Path) -> None:
    box.put_on_stick(small_gguf)
    asked = box.ask("small", stick(small_gguf.name))
    part = begin_copying(box, asked, 2**20)
    pulled = box.stick.rename(box.stick.with_name("pulled"))
    box.turn()
    get = read_get(box.activity, asked.id)
    assert (get.state, get.code) == (GetState.WAITING, "medium_gone") and part.exists()
    pulled.rename(box.stick)
    box.at = get.next_try_at
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.DONE


def test_a_share_that_goes_away_again_and_again_is_not_given_up_while_something_comes(
    box: ModelBox, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying_module, "_CHUNK_BYTES", 2**16)
    monkeypatch.setattr(getting, "MOST_ATTEMPTS", 2)
    box.put_on_stick(small_gguf)
    get, waits = box.ask("small", stick(small_gguf.name)), list[float]()
    left = 0

    def goes_away(store: Store) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Store, "keep_reserve", goes_away)
    for _ in range(4):
        left = 5
        box.turn()
        get = read_get(box.activity, get.id)
        assert get.state is GetState.WAITING, get.sentence
        waits.append(get.next_try_at - box.at)
        box.at = get.next_try_at
    assert waits == [waits[0]] * 4, "each time as after the first"
    for _ in range(2):
        left = 0
        box.turn()
        get = read_get(box.activity, get.id)
        box.at = get.next_try_at
    assert (get.state, get.code) == (GetState.REFUSED, "medium_gone"), "nothing more came of it"


def test_the_rest_of_another_file_is_not_put_behind_a_part(
    box: ModelBox, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying_module, "_CHUNK_BYTES", 2**16)
    box.put_on_stick(small_gguf)
    asked = box.ask("small", stick(small_gguf.name))
    begin_copying(box, asked, 2**20)
    data = bytearray(small_gguf.read_bytes())
    data[-1] ^= 1
    (box.stick / small_gguf.name).write_bytes(data)
    data[2**19] ^= 1
    (box.stick / small_gguf.name).write_bytes(data)
    box.turn()
    assert box.model("small").digest == hashlib.sha256(data).hexdigest()


@pytest.mark.root
def test_room_is_asked_for_what_is_still_to_come(small_disk: ModelBox, small_gguf: Path) -> None:
    box = small_disk
    box.put_on_stick(small_gguf)
    asked = box.ask("small", stick(small_gguf.name))
    begin_copying(box, asked, small_gguf.stat().st_size)
    filler = box.settings.state_dir / "filler"
    fill(filler, leave=2_000_000)
    box.turn()
    assert read_get(box.activity, asked.id).state is GetState.DONE
    filler.unlink()
