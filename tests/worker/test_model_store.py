"""A worker's models on its disk: nothing counts before it was checked, and a full disk hurts nobody."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.handout.pieces import DamagedFile, PieceList, make_piece_list
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.worker.choosing import COMING, HERE, MISSING
from appliance.worker.model_room import Unused
from appliance.worker.model_store import ModelStore
from tests.waiting import wait_until

PIECE = 64 * 1024


class Source:
    """Files as the box has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, path: str, size_bytes: int = 2 * PIECE + 5) -> BundleFile:
        content = os.urandom(size_bytes)
        sha256 = hashlib.sha256(content).hexdigest()
        (self._folder / sha256).write_bytes(content)
        return BundleFile(path=path, size_bytes=size_bytes, sha256=sha256)

    def pieces(self, file: BundleFile) -> PieceList:
        return make_piece_list(self._folder / file.sha256, file.sha256)

    def content(self, file: BundleFile) -> bytes:
        return (self._folder / file.sha256).read_bytes()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    folder = tmp_path / "box"
    folder.mkdir()
    return Source(folder)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def gguf(*files: BundleFile) -> Bundle:
    return Bundle(format=ModelFormat.GGUF, files=files)


def bring(store: ModelStore, source: Source, bundle: Bundle) -> None:
    """Every piece of every missing file, then the model."""
    store.note(bundle)
    for file in store.missing(bundle):
        part = store.open_part(source.pieces(file))
        for index in range(len(part.pieces)):
            offset = part.pieces.offset(index)
            part.write(index, memoryview(source.content(file)[offset : offset + part.pieces.length(index)]))
        store.accept(part)
        part.close()
    store.assemble(bundle)


def test_a_model_is_found_only_when_all_of_it_is_here(store: ModelStore, source: Source) -> None:
    files = (source.file("model.xml", 100), source.file("sub/model.bin"), source.file("empty", 0))
    bundle = Bundle(format=ModelFormat.OPENVINO, files=files)
    assert (store.find(bundle), store.complete(), len(store.missing(bundle))) == (None, {}, 3)
    bring(store, source, bundle)
    folder = store.find(bundle)
    assert folder is not None
    assert {file.path: (folder / file.path).read_bytes() for file in files} == {
        file.path: source.content(file) for file in files
    }
    assert store.complete() == {bundle.digest: bundle}
    assert (store.needed_bytes(bundle), list((store.root / "partial").iterdir())) == (0, [])
    single = gguf(source.file("weights.gguf"))
    bring(store, source, single)
    found = store.find(single)
    assert found is not None and found.name == "weights.gguf"
    assert store.digest_of(found) == single.digest
    assert store.digest_of(Path("/elsewhere/weights.gguf")) is None


def test_a_file_that_is_here_under_another_name_is_found(store: ModelStore, source: Source) -> None:
    file = source.file("weights.gguf")
    bring(store, source, gguf(file))
    found = store.find(gguf(file.model_copy(update={"path": "renamed.gguf"})))
    assert found is not None and found.read_bytes() == source.content(file)


def test_pieces_of_an_earlier_try_are_checked_and_the_right_ones_kept(
    store: ModelStore, source: Source
) -> None:
    file = source.file("weights")
    store.note(gguf(file))
    pieces, content = source.pieces(file), source.content(file)
    first = store.open_part(pieces)
    first.write(0, memoryview(content[:PIECE]))
    first.write(1, memoryview(bytes(PIECE)))
    first.states[2] = COMING
    assert bytes(first.states) == bytes([HERE, HERE, COMING])
    first.close()
    second = store.open_part(pieces)
    assert bytes(second.states) == bytes([HERE, MISSING, MISSING])
    assert second.have_bytes() == PIECE
    second.close()
    store.forget_maps()
    assert [path.name for path in (store.root / "partial").iterdir()] == [file.sha256]


def test_one_flipped_byte_is_refused_and_nothing_of_it_stays(store: ModelStore, source: Source) -> None:
    file = source.file("weights", 10)
    store.note(gguf(file))
    part = store.open_part(source.pieces(file))
    wrong = bytearray(source.content(file))
    wrong[3] ^= 1
    part.write(0, memoryview(wrong))
    with pytest.raises(DamagedFile):
        store.accept(part)
    part.close()
    assert (store.find(gguf(file)), list((store.root / "partial").iterdir())) == (None, [])


def test_removing_a_model_leaves_what_another_one_uses(store: ModelStore, source: Source) -> None:
    shared = source.file("tokenizer")
    one, other = gguf(source.file("one"), shared), gguf(source.file("other"), shared)
    bring(store, source, one)
    bring(store, source, other)

    def touched() -> dict[str, Unused] | None:
        """Once the file system's clock has gone on."""
        store.touch(one.digest)
        found = {each.digest: each for each in store.unused(kept=frozenset())}
        return found if found[other.digest].used_at < found[one.digest].used_at else None

    unused = wait_until(touched, within_seconds=2, what="the one that was used last is told apart")
    assert unused[one.digest].frees_bytes < 2 * shared.size_bytes
    assert [each.digest for each in store.unused(kept=frozenset([one.digest]))] == [other.digest]
    store.remove(other.digest)
    assert list(store.complete()) == [one.digest]
    assert store.blob(shared.sha256).is_file()
    assert not store.blob(other.files[0].sha256).exists()
    found = store.find(one)
    assert found is not None and found.read_bytes() == source.content(one.files[0])


def test_what_a_worker_that_was_killed_while_it_removed_a_model_left_is_given_back(
    store: ModelStore, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    going = gguf(source.file("going"))
    bring(store, source, going)
    with monkeypatch.context() as until_then:
        until_then.setattr("appliance.worker.model_store.shutil.rmtree", killed)
        with pytest.raises(Killed):
            store.remove(going.digest)
    store.drop_unwanted(except_for=frozenset())
    assert store.stored_bytes() == 0 and store.find(going) is None


def test_making_room_keeps_the_files_that_came_of_a_model_whose_others_are_still_to_come(
    store: ModelStore, source: Source
) -> None:
    coming, other = gguf(source.file("a-1"), source.file("a-2")), gguf(source.file("other"))
    bring(store, source, gguf(coming.files[0], source.file("beside")))
    bring(store, source, other)
    whole = frozenset(file.sha256 for file in coming.files)
    [half] = [digest for digest in store.complete() if digest != other.digest]
    store.remove(half, except_for=whole)  # a file that was there already, of a model that goes
    store.remove(other.digest, except_for=whole)
    assert store.missing(coming) == [coming.files[1]]
    store.drop_unwanted(except_for=frozenset())
    assert store.missing(coming) == list(coming.files), "nobody waits for it any more"


def test_a_model_that_goes_just_now_troubles_nobody_who_looks(
    store: ModelStore, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching, which makes room, is a thread of its own."""
    here = gguf(source.file("here"))
    bring(store, source, here)
    listed = [*store._folders(), store.root / "bundles" / ("0" * 64)]
    monkeypatch.setattr(store, "_folders", lambda: listed)
    assert list(store.complete()) == [here.digest]
    store.touch("0" * 64)


def test_parts_that_nobody_waits_for_are_given_back(store: ModelStore, source: Source) -> None:
    kept, dropped = source.file("kept"), source.file("dropped")
    store.note(gguf(kept, dropped))
    for file in (kept, dropped):
        store.open_part(source.pieces(file)).close()
    store.drop_unwanted(except_for=frozenset([kept.sha256]))
    assert {path.name.partition(".")[0] for path in (store.root / "partial").iterdir()} == {kept.sha256}
    assert store.needed_bytes(gguf(kept)) == 0 < store.needed_bytes(gguf(dropped))


FILL = """
import sys
from pathlib import Path
from appliance.handout.pieces import PieceList
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.worker.model_store import ModelStore
store = ModelStore(Path(sys.argv[1]) / "models")
file = BundleFile(path="weights", size_bytes=8 << 20, sha256="0" * 64)
store.note(Bundle(format=ModelFormat.GGUF, files=(file,)))
try:
    store.open_part(PieceList(file.sha256, file.size_bytes, 64 * 1024, (bytes(32),) * 128))
except OSError as error:
    print(error.errno)
store.drop_part(file.sha256)
print(store.stored_bytes())
"""


@pytest.mark.root
def test_a_disk_without_room_says_so_before_a_byte_is_fetched_and_gets_its_room_back(tmp_path: Path) -> None:
    """On a real file system of 2 MB, which only the process in its own mount namespace sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", shell, "sh", str(disk), sys.executable, FILL],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == [str(errno.ENOSPC), "0"]
