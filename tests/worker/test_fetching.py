"""The worker's fetching against a real box front over TLS and real pieces servers, on loopback."""

import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.enrolment import WorkerState, approve_worker, list_workers
from appliance.enrolment.contract import DesiredState
from appliance.enrolment.wishes import Wish, set_wish
from appliance.handout import HandoutChoice
from appliance.handout.contract import HandoutOrders, Link
from appliance.handout.pieces import make_piece_list
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.storage import write_choice
from appliance.worker import piece_sources
from appliance.worker.fetching import FileFetch, Tally
from appliance.worker.handout import Handout
from appliance.worker.model_store import ModelStore
from appliance.worker.part_file import PartFile
from appliance.worker.piece_sources import Pace, PieceSource
from appliance.worker.seed_server import SeedOrders
from tests.conftest import free_port
from tests.enrolment.conftest import Box, box
from tests.waiting import wait_until

__all__ = ["box"]

SIZE = 10 * 65536 + 100
ME = "127.0.0.1"
KEY = "A" * 43 + "="


@pytest.fixture
def bundle(box: Box) -> Bundle:
    """A model that the box has and wishes on the worker at ME."""
    file = put(box, "w.gguf", SIZE)
    approve_worker(box.db, box.join().worker_id, approved_by=None)
    box.db.execute("UPDATE workers SET tunnel_address = ?", [ME])
    bundle = Bundle(format=ModelFormat.GGUF, files=(file,))
    wish(box, bundle)
    return bundle


def put(box: Box, path: str, size_bytes: int) -> BundleFile:
    """A file of random bytes in the box's store."""
    content = os.urandom(size_bytes)
    sha256 = hashlib.sha256(content).hexdigest()
    blobs = box.settings.state_dir / "models" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / sha256).write_bytes(content)
    return BundleFile(path=path, size_bytes=size_bytes, sha256=sha256)


def wish(box: Box, *bundles: Bundle) -> None:
    set_wish(box.db, list_workers(box.db)[0].id, Wish(models=bundles))


@pytest.fixture
def handout(box: Box, tmp_path: Path) -> Iterator[Handout]:
    handout = Handout(ModelStore(tmp_path / "pc"), box.address, box.pin, IPv4Address(ME))
    yield handout
    handout.stop()


def desired(bundle: Bundle, **orders: object) -> DesiredState:
    return DesiredState(
        state=WorkerState.APPROVED, models=(bundle,), handout=HandoutOrders.model_validate(orders)
    )


def obey(handout: Handout, state: DesiredState) -> None:
    handout.obey(state, (), is_busy=False)


def wait_for(handout: Handout, bundle: Bundle) -> Path:
    found = wait_until(lambda: handout.find(bundle), within_seconds=20, what="the model has come")
    # the last word about it comes after the files
    wait_until(handout.has_news, within_seconds=5, what="it is told")
    return found


def box_blob(box: Box, bundle: Bundle) -> Path:
    return box.settings.state_dir / "models" / "blobs" / bundle.digest


def test_a_model_comes_from_the_box_and_is_the_same(box: Box, bundle: Bundle, handout: Handout) -> None:
    obey(handout, desired(bundle))
    found = wait_for(handout, bundle)
    assert found.read_bytes() == box_blob(box, bundle).read_bytes()
    [told] = handout.progress()
    assert (told.is_complete, told.from_box_bytes, told.trouble) == (True, SIZE, "")


def test_a_model_of_many_files_comes_as_the_folder_that_its_engine_opens(
    box: Box, bundle: Bundle, handout: Handout
) -> None:
    files = tuple(put(box, f"part/{number}.bin", number * 40_000) for number in range(5))
    many = Bundle(format=ModelFormat.OPENVINO, files=files)
    wish(box, many)
    obey(handout, desired(many))
    folder = wait_for(handout, many)
    assert {file.path: hashlib.sha256((folder / file.path).read_bytes()).hexdigest() for file in files} == {
        file.path: file.sha256 for file in files
    }
    assert handout.progress()[0].from_box_bytes == many.size_bytes


def test_an_unused_model_makes_room_and_one_that_runs_does_not(
    box: Box, bundle: Bundle, handout: Handout
) -> None:
    obey(handout, desired(bundle))
    running = wait_for(handout, bundle)
    other = Bundle(format=ModelFormat.GGUF, files=(put(box, "other.gguf", SIZE),))
    wish(box, other)
    quota = {"quota_bytes": SIZE + SIZE // 2}
    handout.obey(desired(other, **quota), (running,), is_busy=False)
    trouble = wait_until(lambda: handout.progress()[0].trouble, within_seconds=10, what="it is told")
    assert "of the disk" in trouble and running.is_file()
    # asked anew, now that nothing runs on it
    second = Bundle(format=ModelFormat.GGUF, files=(put(box, "second.gguf", SIZE),))
    wish(box, second)
    obey(handout, desired(second, **quota))
    wait_until(lambda: handout.find(second), within_seconds=10, what="the second has come")
    assert not running.exists()
    assert [model.digest for model in handout.progress()] == [second.digest]


def test_a_model_that_does_not_fit_is_told_and_nothing_is_fetched(bundle: Bundle, handout: Handout) -> None:
    obey(handout, desired(bundle, keep_free_bytes=1 << 50))
    wait_until(handout.has_news, within_seconds=10, what="there is news")
    [told] = handout.progress()
    assert "of the disk" in told.trouble and told.have_bytes == told.from_box_bytes == 0


def test_a_disk_that_fills_on_the_way_is_told_and_cleaned_up(
    box: Box, bundle: Bundle, handout: Handout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes the first pieces: a file system that can't promise room, and /dev/full from then on."""
    full = os.open("/dev/full", os.O_RDWR)
    calls, write = iter(range(1000)), os.pwrite
    monkeypatch.setattr(
        "appliance.worker.part_file.os.pwrite",
        lambda file, content, offset: write(file if next(calls) < 3 else full, content, offset),
    )
    obey(handout, desired(bundle))
    wait_until(handout.has_news, within_seconds=10, what="there is news")
    os.close(full)
    [told] = handout.progress()
    assert "became full" in told.trouble
    assert list((tmp_path / "pc" / "partial").iterdir()) == []
    assert handout.find(bundle) is None


def test_a_damaged_file_of_the_box_is_not_taken(box: Box, bundle: Bundle, handout: Handout) -> None:
    with box_blob(box, bundle).open("r+b") as file:
        file.write(b"flipped")
    obey(handout, desired(bundle))
    trouble = wait_until(lambda: handout.progress()[0].trouble, within_seconds=10, what="it is told")
    assert "damaged" in trouble


def test_what_the_box_damages_after_its_list_was_made_is_not_taken_either(
    box: Box, bundle: Bundle, handout: Handout
) -> None:
    pieces = box.settings.state_dir / "models" / "pieces"
    pieces.mkdir()
    (pieces / bundle.digest).write_bytes(make_piece_list(box_blob(box, bundle), bundle.digest).encode())
    with box_blob(box, bundle).open("r+b") as file:
        file.write(b"flipped")
    obey(handout, desired(bundle))
    trouble = wait_until(lambda: handout.progress()[0].trouble, within_seconds=10, what="it is told")
    assert "not in its own list" in trouble
    assert handout.find(bundle) is None


Seed = Callable[[Path], int]


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> Iterator[Seed]:
    """Starts another worker's pieces server on a store, and says its port; ME may have the bundle."""
    port, running = free_port(), []
    monkeypatch.setattr(piece_sources, "WORKER_HANDOUT_PORT", port)

    def start(root: Path) -> int:
        argv = [sys.executable, "-m", "appliance.worker.seed_server", "--root", str(root)]
        process = subprocess.Popen(
            [*argv, "--address", ME, "--port", str(port)], stdin=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdin is not None
        orders = SeedOrders(files={IPv4Address(ME): {bundle.digest: SIZE}})
        process.stdin.write(orders.model_dump_json() + "\n")
        process.stdin.flush()
        return port

    yield start
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def a_link(bundle: Bundle, *, has_all: bool = True) -> dict[str, object]:
    digests = (bundle.digest,)
    return Link(
        public_key=KEY,
        tunnel_address=IPv4Address(ME),
        endpoint=f"{ME}:51820",
        gives=digests,
        has_all_of=digests if has_all else (),
    ).model_dump()


def a_store_with(box: Box, bundle: Bundle, root: Path, pieces_here: range) -> ModelStore:
    """Another worker's store in which these pieces of the bundle are."""
    store, content = ModelStore(root), box_blob(box, bundle).read_bytes()
    store.note(bundle)
    pieces = make_piece_list(box_blob(box, bundle), bundle.digest)
    store.keep_piece_list(pieces)
    part = store.open_part(pieces)
    for index in pieces_here:
        offset = pieces.offset(index)
        part.write(index, memoryview(content[offset : offset + pieces.length(index)]))
    part.close()
    return store


def test_what_another_worker_has_comes_from_there_and_the_rest_from_the_box(
    box: Box, bundle: Bundle, handout: Handout, tmp_path: Path, seed: Seed
) -> None:
    write_choice(box.db, HandoutChoice(box_bytes_per_second=200_000), chosen_by=None)
    a_store_with(box, bundle, tmp_path / "other", range(4, 10))
    seed(tmp_path / "other")
    obey(handout, desired(bundle, links=[a_link(bundle, has_all=False)]))
    found = wait_for(handout, bundle)
    assert found.read_bytes() == box_blob(box, bundle).read_bytes()
    [told] = handout.progress()
    assert told.from_box_bytes + told.from_workers_bytes == SIZE
    assert told.from_workers_bytes >= 65536


def test_a_worker_that_lies_costs_one_piece(
    box: Box, bundle: Bundle, handout: Handout, tmp_path: Path, seed: Seed
) -> None:
    store = a_store_with(box, bundle, tmp_path / "other", range(0))
    store.blob(bundle.digest).write_bytes(os.urandom(SIZE))
    seed(tmp_path / "other")
    obey(handout, desired(bundle, links=[a_link(bundle)]))
    found = wait_for(handout, bundle)
    assert found.read_bytes() == box_blob(box, bundle).read_bytes()
    assert handout.avoided() == (IPv4Address(ME),)
    assert handout.progress()[0].from_workers_bytes == 0


def test_a_worker_that_is_not_there_costs_patience_and_no_more(
    box: Box, bundle: Bundle, handout: Handout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece_sources, "WORKER_HANDOUT_PORT", free_port())
    monkeypatch.setattr(piece_sources, "_BELIEVED_SECONDS", 0.5)
    obey(handout, desired(bundle, links=[a_link(bundle)]))
    wait_for(handout, bundle)
    assert handout.progress()[0].from_box_bytes == SIZE
    assert handout.avoided() == ()


def test_nobody_but_who_was_named_gets_a_piece(box: Box, bundle: Bundle, tmp_path: Path, seed: Seed) -> None:
    a_store_with(box, bundle, tmp_path / "other", range(10))
    port = seed(tmp_path / "other")
    found = wait_until(
        lambda: get(port, ME, f"/pieces/{bundle.digest}/3"), within_seconds=10, what="it listens"
    )
    assert found == (200, box_blob(box, bundle).read_bytes()[3 * 65536 : 4 * 65536])
    assert get(port, ME, f"/have/{bundle.digest}") == (200, bytes([2] * 10 + [0]))
    tried = {
        "a piece that is not here": get(port, ME, f"/pieces/{bundle.digest}/10"),
        "a piece that is none": get(port, ME, f"/pieces/{bundle.digest}/11"),
        "another file": get(port, ME, f"/pieces/{'0' * 64}/0"),
        "a way out": get(port, ME, "/pieces/../manifests/x"),
        "the list": get(port, ME, "/"),
        "another worker": get(port, "127.0.0.9", f"/pieces/{bundle.digest}/3"),
    }
    assert {what: status for what, (status, _body) in tried.items()} == {
        "a piece that is not here": 404,
        "a piece that is none": 404,
        "another file": 403,
        "a way out": 404,
        "the list": 404,
        "another worker": 403,
    }


def get(port: int, source: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(ME, port, timeout=5, source_address=(source, 0))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_stopping_in_the_middle_leaves_no_thread_and_keeps_what_has_come(
    box: Box, bundle: Bundle, tmp_path: Path
) -> None:
    first = Handout(ModelStore(tmp_path / "pc"), box.address, box.pin, IPv4Address(ME))
    first.obey(desired(bundle, busy_bytes_per_second=100_000), (), is_busy=True)
    wait_until(lambda: first.progress()[0].have_bytes > 65536, within_seconds=20, what="some has come")
    first.stop()
    here = first.progress()[0].have_bytes
    assert here < SIZE, "somebody works at this machine: it came too fast"
    assert [t.name for t in threading.enumerate() if t.name.startswith(("fetch ", "handout"))] == []
    second = Handout(ModelStore(tmp_path / "pc"), box.address, box.pin, IPv4Address(ME))
    try:
        obey(second, desired(bundle))
        wait_for(second, bundle)
        assert second.progress()[0].from_box_bytes <= SIZE - here + 65536
    finally:
        second.stop()


class Flickering(PieceSource):
    """Is no source any more after its first piece, until nobody asks it; then it is one again."""

    name = "another worker"

    def __init__(self, content: bytes, piece_bytes: int) -> None:
        super().__init__()
        self._content, self._piece_bytes = content, piece_bytes
        self.given, self._is_back = 0, False

    def path(self, sha256: str, index: int) -> str:
        raise NotImplementedError

    def connect(self) -> http.client.HTTPConnection:
        raise NotImplementedError

    def read_piece(self, sha256: str, index: int, into: memoryview, pace: Pace) -> None:
        begin = index * self._piece_bytes
        into[:] = self._content[begin : begin + len(into)]
        self.given += 1

    def if_it_is_one(self) -> tuple[PieceSource, ...]:
        is_asked = any(thread.name == f"fetch {self.name}" for thread in threading.enumerate())
        self._is_back |= self.given == 1 and not is_asked
        return (self,) if self._is_back or self.given == 0 else ()


def test_a_source_that_was_none_for_a_while_is_asked_again(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(os.urandom(SIZE))
    pieces = make_piece_list(whole, hashlib.sha256(whole.read_bytes()).hexdigest())
    source = Flickering(whole.read_bytes(), pieces.piece_bytes)
    part = PartFile(tmp_path / "part", pieces)
    fetch = FileFetch(
        part,
        "digest",
        number_and_of=lambda: (0, 1),
        sources=source.if_it_is_one,
        pace=Pace(),
        tally=Tally(),
    )
    until = time.monotonic() + 10
    assert fetch.run(lambda: time.monotonic() < until, threading.Event()), "every piece is here"
    part.close()
    assert source.given == len(pieces)
