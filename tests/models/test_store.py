"""The store: each file once, used only with its hash, gone when nothing needs it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.models.bundle import Bundle, ModelFormat
from appliance.models.layout import bundle_folder, engine_path, incoming_dir
from appliance.models.store import ModelDamaged, Store, StoreFull, hash_files, reserve_bytes

CONTENT = {"openvino_model.xml": b"<net/>", "openvino_model.bin": b"weights", "sub/config.json": b"{}"}


def arrive(store: Store, name: str, content: dict[str, bytes]) -> tuple[dict[str, Path], Bundle]:
    """Files as a get leaves them, and the bundle that they are."""
    files = {}
    for path, data in content.items():
        files[path] = incoming_dir(store.state_dir) / name / path
        files[path].parent.mkdir(parents=True, exist_ok=True)
        files[path].write_bytes(data)
    return files, hash_files(ModelFormat.OPENVINO, files)


def add(store: Store, name: str, content: dict[str, bytes]) -> Bundle:
    files, bundle = arrive(store, name, content)
    damaged = store.damaged(store.held_already(bundle))
    with store.alone():
        store.add(files, bundle, damaged)
    shutil.rmtree(incoming_dir(store.state_dir) / name)
    return bundle


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_bundle_has_its_names_and_each_file_is_there_once(store: Store) -> None:
    bundle = add(store, "a", CONTENT)
    folder = bundle_folder(store.state_dir, bundle.digest)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")} == CONTENT
    other = add(store, "b", CONTENT | {"openvino_model.bin": b"other weights"})
    assert other.digest != bundle.digest
    assert len(list((store.state_dir / "models" / "blobs").iterdir())) == 4
    assert store.used_bytes() == sum(map(len, CONTENT.values())) + len(b"other weights")
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o444), "engines are another user"


def test_what_is_removed_while_it_is_counted_counts_for_nothing(store: Store) -> None:
    bundle = add(store, "a", CONTENT)
    # listed, and not there when it is looked at
    (store.state_dir / "models" / "blobs" / ("0" * 64)).symlink_to("gone")
    assert store.used_bytes() == bundle.size_bytes


def test_what_an_engine_is_started_with(store: Store, tmp_path: Path) -> None:
    bundle = add(store, "a", CONTENT)
    assert engine_path(tmp_path, bundle) == bundle_folder(tmp_path, bundle.digest)
    names = ("m-00002-of-00002.gguf", "m-00001-of-00002.gguf", "notes.txt")
    files, _ = arrive(store, "b", {name: name.encode() for name in names})
    gguf = hash_files(ModelFormat.GGUF, files)
    assert engine_path(tmp_path, gguf).name == "m-00001-of-00002.gguf"


def test_one_flipped_byte_is_found(store: Store) -> None:
    bundle = add(store, "a", CONTENT)
    store.verify(bundle)
    weights = bundle_folder(store.state_dir, bundle.digest) / "openvino_model.bin"
    weights.chmod(0o644)
    for wrong, told in ((b"weightz", "changed or damaged"), (b"weight", "has 6 bytes and should have 7")):
        weights.write_bytes(wrong)
        with pytest.raises(ModelDamaged, match=told):
            store.verify(bundle)
    weights.unlink()
    with pytest.raises(ModelDamaged, match="is missing"):
        store.verify(bundle)


def test_a_good_copy_mends_a_damaged_one_everywhere(store: Store) -> None:
    bundle = add(store, "a", CONTENT)
    folder = bundle_folder(store.state_dir, bundle.digest)
    (folder / "sub" / "config.json").chmod(0o644)
    (folder / "sub" / "config.json").write_bytes(b"[]")
    again = {"openvino_model.xml": b"<net>other</net>", "config.json": b"{}", "the_same.json": b"{}"}
    store.verify(add(store, "b", again))
    store.verify(bundle)
    links = [path.stat().st_ino for path in (store.state_dir / "models").rglob("*.json")]
    assert len(links) == 3 and len(set(links)) == 1


def test_removing_keeps_what_another_bundle_needs(store: Store) -> None:
    first = add(store, "a", CONTENT)
    second = add(store, "b", CONTENT | {"openvino_model.bin": b"other weights"})
    with store.alone():
        store.remove(first.digest)
        store.remove(first.digest)
    assert not bundle_folder(store.state_dir, first.digest).exists()
    store.verify(second)
    assert store.used_bytes() == second.size_bytes


def test_what_no_record_names_is_cleaned_away(store: Store) -> None:
    known, orphan = add(store, "a", CONTENT), add(store, "b", {"openvino_model.bin": b"lost"})
    for name in ("get-1", "get-2"):
        arrive(store, name, {"x": b"y"})
    (store.state_dir / "models" / f".{'a' * 64}").mkdir()
    (store.state_dir / "models" / "pieces").mkdir()
    with store.alone():
        assert store.clean({known.digest}, {"get-2"}) == 2
    assert not bundle_folder(store.state_dir, orphan.digest).exists()
    assert [path.name for path in incoming_dir(store.state_dir).iterdir()] == ["get-2"]
    assert (store.state_dir / "models" / "pieces").exists(), "what hands models out keeps there"
    store.verify(known)
    assert store.used_bytes() == known.size_bytes


def test_a_bundle_that_comes_again_is_no_harm_and_neither_is_a_cut_off_one(store: Store) -> None:
    files, bundle = arrive(store, "a", CONTENT)
    draft = store.state_dir / "models" / f".{bundle.digest}"
    (draft / "left").mkdir(parents=True)
    with store.alone():
        store.add(files, bundle, damaged=())
    assert not draft.exists()
    assert add(store, "b", CONTENT) == bundle
    store.verify(bundle)


def test_many_at_once_leave_a_whole_store(store: Store) -> None:
    """Adding, removing and cleaning in turn, as the core and the pages do."""

    def turn(number: int) -> None:
        bundle = add(store, f"t{number}", CONTENT | {"own": b"%d" % (number % 3)})
        if number % 2:
            with store.alone():
                store.remove(bundle.digest)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, range(40)))
    for folder in (store.state_dir / "models").glob("[0-9a-f]*"):
        if folder.name not in ("blobs", "incoming"):
            files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
            assert hash_files(ModelFormat.OPENVINO, files).digest == folder.name


def test_room_is_told_with_figures(tmp_path: Path) -> None:
    store = Store(tmp_path, quota_bytes=1000)
    store.require_room(1000, 1000)
    with pytest.raises(StoreFull, match="needs 1 kB; models have 15 bytes of the 1 kB"):
        add(store, "a", CONTENT)
        store.require_room(1000, 1000)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StoreFull, match="stay for the box"):
        Store(tmp_path).require_room(free, free)
    assert reserve_bytes(100 * 10**9) == 2 * 2**30 and reserve_bytes(10**9) == 5 * 10**7
