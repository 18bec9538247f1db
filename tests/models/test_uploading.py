"""Uploads in chunks, whatever comes between: a chunk sent twice at once, a process that is killed."""

import hashlib
import threading
from pathlib import Path

import pytest

from appliance.models import GetState, UploadFile, UploadOrder, read_get, receive_chunk, uploads
from appliance.models.gets import Get
from appliance.models.store import Store
from appliance.storage import open_activity
from tests.models.conftest import ModelBox


class Killed(BaseException):
    """As by kill -9: nothing that would mend it runs."""


def send(box: ModelBox, get: Get, offset: int, data: bytes) -> GetState:
    with open_activity(box.settings.state_dir) as activity:
        return receive_chunk(
            box.settings.state_dir, activity, get.id, path="t.gguf", offset=offset, data=data
        ).state


def asked(box: ModelBox, data: bytes) -> Get:
    return box.ask("tiny", UploadOrder(files=(UploadFile(path="t.gguf", size_bytes=len(data)),)))


def test_a_chunk_that_is_sent_again_while_it_is_written_is_there_once(
    box: ModelBox, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_gguf.read_bytes()
    get, keep_reserve = asked(box, data), Store.keep_reserve
    again = threading.Thread(target=send, args=(box, get, 0, data[:70_000]))

    def while_it_is_written(store: Store, to_come_bytes: int = 0) -> None:
        monkeypatch.setattr(Store, "keep_reserve", keep_reserve)
        again.start()
        again.join(0.5)  # it has to wait for this one; without that it is done by then
        keep_reserve(store, to_come_bytes)

    monkeypatch.setattr(Store, "keep_reserve", while_it_is_written)
    send(box, get, 0, data[:70_000])
    again.join(10)
    assert not again.is_alive()
    assert send(box, get, 70_000, data[70_000:]) is GetState.WAITING
    box.turn()
    assert box.model("tiny").digest == hashlib.sha256(data).hexdigest()


def test_an_upload_whose_last_chunk_was_written_by_a_process_that_was_killed_goes_on(
    box: ModelBox, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_gguf.read_bytes()
    get = asked(box, data)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as until_then:
        until_then.setattr(uploads, "move_get", killed)
        with pytest.raises(Killed):
            send(box, get, 0, data)
    assert send(box, get, 0, data) is GetState.WAITING, "the browser repeats what had no answer"
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.DONE
