"""From a stick, a NAS or an upload to a name in the API: verified, or refused and nothing left."""

import hashlib
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.clock import now
from appliance.handout.pieces import make_piece_list
from appliance.host import NotFound
from appliance.keeping import BackupChoice, NfsTarget
from appliance.models import (
    CarriedOrder,
    ChunkRefused,
    EntryUnknown,
    GetState,
    HubOrder,
    LargerThanMemory,
    LicenceForbids,
    LicenceNotAccepted,
    ModelFileUnusable,
    ModelNameTaken,
    ModelRetired,
    NameRefused,
    NothingCarried,
    StoreFull,
    UploadFile,
    UploadOrder,
    ask_cancel,
    ask_get,
    carried_models,
    engine_path,
    hub_order,
    list_gets,
    medium,
    read_get,
    receive_chunk,
    received_bytes,
    unfinished_gets,
)
from appliance.models import fitting as fitting_module
from appliance.models.carrying import files_of
from appliance.models.entry import SHIPPED, read_catalogue, read_entry
from appliance.models.uploads import STALE_SECONDS
from appliance.people import audit_lines
from appliance.storage import write_choice
from tests.models.conftest import ModelBox
from tests.models.hub_server import REPOSITORY, HubServer
from tests.models.test_catalogue import OWN
from tests.models.test_facts import written
from tests.models.test_openvino_facts import write_ir

CATALOGUE, _ = read_catalogue([SHIPPED])


def stick(path: str, **given: object) -> CarriedOrder:
    return CarriedOrder.model_validate({"origin": "stick", "path": path, **given})


def test_a_model_from_a_stick(box: ModelBox, tiny_gguf: Path) -> None:
    box.put_on_stick(tiny_gguf)
    get = box.get("tiny", stick(tiny_gguf.name))
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence
    model = box.model("tiny")
    link = box.settings.state_dir / "models" / model.digest / tiny_gguf.name
    assert link.read_bytes() == tiny_gguf.read_bytes()
    assert (link.stat().st_nlink, link.stat().st_mode & 0o777) == (2, 0o444)
    assert model.facts.architecture == "qwen3" and model.added_by == "ana"
    assert box.incoming() == []
    pieces = make_piece_list(link, model.digest)
    kept = box.settings.state_dir / "models" / "pieces" / model.digest
    assert kept.read_bytes() == pieces.encode(), "who hands it out needn't read all of it again"
    assert [line.event for line in audit_lines(box.activity)] == ["box:model:added", "admin:model:get"]


def test_what_lies_on_a_stick(box: ModelBox, tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound), medium(box.settings, box.host, "stick"):
        pass
    box.put_on_stick(tiny_gguf)
    box.put_on_stick(tiny_gguf, folder="deep/er")
    for name in ("openvino_model.xml", "openvino_model.bin"):
        (box.stick / "ir").mkdir(exist_ok=True)
        (box.stick / "ir" / name).write_bytes(b"x")
    for number in (1, 2):
        (box.stick / f"big-{number:05}-of-00002.gguf").write_bytes(b"part")
    (box.stick / "holiday.jpg").write_bytes(b"x")
    (box.stick / "link.gguf").symlink_to("/etc/passwd")
    with medium(box.settings, box.host, "stick") as folder:
        found = {each.path: (each.files, each.size_bytes) for each in carried_models(folder)}
    size = tiny_gguf.stat().st_size
    assert found == {
        tiny_gguf.name: (1, size),
        f"deep/er/{tiny_gguf.name}": (1, size),
        "ir": (2, 2),
        "big-00001-of-00002.gguf": (2, 8),
    }
    refused = box.get("evil", stick("link.gguf"))
    assert (refused.state, refused.code) == (GetState.REFUSED, "no_model_carried")


def test_a_hash_beside_the_file_is_believed(box: ModelBox, tiny_gguf: Path) -> None:
    box.put_on_stick(tiny_gguf)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    (box.stick / "SHA256SUMS").write_text(f"{'0' * 64}  other.gguf\n{digest} *{tiny_gguf.name}\n")
    assert box.get("tiny", stick(tiny_gguf.name)).state is GetState.DONE
    data = bytearray(tiny_gguf.read_bytes())
    data[-1] ^= 1
    (box.stick / tiny_gguf.name).write_bytes(data)
    flipped = box.get("flipped", stick(tiny_gguf.name))
    assert (flipped.state, flipped.code) == (GetState.REFUSED, "model_damaged")
    assert box.incoming() == []


def test_a_truncated_model_is_refused_and_what_served_goes_on(box: ModelBox, tiny_gguf: Path) -> None:
    box.put_on_stick(tiny_gguf)
    assert box.get("tiny", stick(tiny_gguf.name)).state is GetState.DONE
    whole = box.stick / tiny_gguf.name
    whole.write_bytes(whole.read_bytes()[:-100])
    get = box.get("other", stick(tiny_gguf.name))
    assert (get.state, get.code) == (GetState.REFUSED, "model_file_unusable")
    assert "cut off" in get.sentence
    model = box.model("tiny")
    assert (box.settings.state_dir / "models" / model.digest / tiny_gguf.name).exists()


def test_a_model_from_the_nas(box: ModelBox, tiny_gguf: Path) -> None:
    order = CarriedOrder(origin="nas", path=tiny_gguf.name)
    assert box.get("none", order).code == "no_nas_folder"
    write_choice(box.db, BackupChoice(target=NfsTarget(host="nas.lan", export="/share")), chosen_by="ana")
    share = box.settings.host_dir / "nas" / "nas.lan" / "share"
    share.mkdir(parents=True)
    assert "no folder models" in box.get("no-folder", order).sentence
    (share / "models").mkdir()
    shutil.copy(tiny_gguf, share / "models")
    get = box.get("tiny", order)
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence


def test_an_upload_in_chunks_that_goes_on_where_it_was(box: ModelBox, tiny_gguf: Path) -> None:
    data = tiny_gguf.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    file = UploadFile(path="tiny.gguf", size_bytes=len(data), sha256=digest)
    get = box.ask("tiny", UploadOrder(files=(file,)))
    assert get.state is GetState.RECEIVING

    def send(offset: int, chunk: bytes, path: str = "tiny.gguf") -> GetState:
        return receive_chunk(
            box.settings.state_dir, box.activity, get.id, path=path, offset=offset, data=chunk
        ).state

    assert send(0, data[:50_000]) is GetState.RECEIVING
    assert send(0, data[:50_000]) is GetState.RECEIVING, "twice is fine"
    for offset, chunk, path in (
        (60_000, b"x", "tiny.gguf"),
        (0, data[:60_000], "tiny.gguf"),
        (50_000, data, "tiny.gguf"),
        (0, b"x", "../evil"),
    ):
        with pytest.raises(ChunkRefused):
            send(offset, chunk, path)
    assert box.turn() == "", "the core waits for the rest"
    assert received_bytes(box.settings.state_dir, get) == {"tiny.gguf": 50_000}
    assert read_get(box.activity, get.id).percent == 100 * 50_000 // len(data)
    assert send(50_000, data[50_000:]) is GetState.WAITING
    box.turn()
    assert box.model("tiny").digest == digest


def test_an_upload_with_one_flipped_byte(box: ModelBox, tiny_gguf: Path) -> None:
    data = bytearray(tiny_gguf.read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    data[-5] ^= 1
    file = UploadFile(path="t.gguf", size_bytes=len(data), sha256=digest)
    get = box.ask("tiny", UploadOrder(files=(file,)))
    receive_chunk(box.settings.state_dir, box.activity, get.id, path="t.gguf", offset=0, data=bytes(data))
    box.turn()
    assert read_get(box.activity, get.id).code == "model_damaged"


@pytest.mark.parametrize(
    "paths", [["."], ["a/"], ["a", "a"], ["a", "a/b.gguf"], ["../a"], ["/a"], ["a/./b"], [""]]
)
def test_an_upload_whose_files_have_no_place_of_their_own(paths: list[str]) -> None:
    with pytest.raises(ValidationError):
        UploadOrder.model_validate({"files": [{"path": path, "size_bytes": 10} for path in paths]})


def test_an_upload_that_nobody_goes_on_with(box: ModelBox) -> None:
    get = box.ask("tiny", UploadOrder(files=(UploadFile(path="t.gguf", size_bytes=10),)))
    receive_chunk(box.settings.state_dir, box.activity, get.id, path="t.gguf", offset=0, data=b"GGUF")
    box.at += STALE_SECONDS - 60
    assert box.turn() == ""
    box.at += 120
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.CANCELLED and box.incoming() == []


def test_what_is_refused_before_anything_begins(box: ModelBox, tiny_gguf: Path) -> None:
    box.choose(internet_allowed=True)
    box.put_on_stick(tiny_gguf)
    assert box.get("tiny", stick(tiny_gguf.name)).state is GetState.DONE
    own = box.settings.state_dir / "catalogue"
    own.mkdir()
    (own / "forbidden.toml").write_text(OWN.replace("commercial_use = true", "commercial_use = false"))
    ended = 'family = "own"\nlifecycle = { retired = 2020-01-01, migrate_to = "qwen3-8b", because = "Old." }'
    (own / "ended.toml").write_text(OWN.replace('family = "own"', ended))
    gemma = CATALOGUE["gemma-3-1b"]
    box.activity.execute(
        """INSERT INTO node_reports VALUES ('box', ?, '{"engines": [{"model": "served"}]}')""", [now()]
    )
    for name, order, refusal in (
        ("tiny", stick("x.gguf"), ModelNameTaken),
        ("TINY", stick("x.gguf"), ModelNameTaken),
        ("cellule-demo", stick("x.gguf"), ModelNameTaken),
        ("default", stick("x.gguf"), ModelNameTaken),
        ("served", stick("x.gguf"), ModelNameTaken),
        ("../x", stick("x.gguf"), NameRefused),
        ("", stick("x.gguf"), NameRefused),
        ("a", stick("x.gguf", entry="nothing"), EntryUnknown),
        ("a", stick("x.gguf", entry="forbidden", licence_accepted=True), LicenceForbids),
        ("a", stick("x.gguf", entry="ended"), ModelRetired),
        ("a", hub_order(gemma, gemma.variants[0]), LicenceNotAccepted),
    ):
        with pytest.raises(refusal):
            box.ask(name, order)
    assert unfinished_gets(box.activity) == []
    accepted = hub_order(gemma, gemma.variants[0], licence_accepted=True)
    assert box.ask("gemma", accepted).state is GetState.WAITING
    with pytest.raises(ModelNameTaken, match="on its way"):
        box.ask("gemma", accepted)


def test_a_licence_in_the_file_itself(box: ModelBox, tmp_path: Path) -> None:
    box.put_on_stick(written(tmp_path / "nc.gguf", more=lambda writer: writer.add_license("cc-by-nc-4.0")))
    get = box.get("nc", stick("nc.gguf"))
    assert (get.state, get.code) == (GetState.REFUSED, "licence_forbids"), get.sentence


def test_a_model_larger_than_any_memory_is_told_with_the_arithmetic(
    box: ModelBox, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting_module, "_own_room", lambda settings: 10_000)
    box.put_on_stick(tiny_gguf)
    get = box.get("tiny", stick(tiny_gguf.name))
    assert get.code == "model_larger_than_memory" and "10 kB (box)" in get.sentence
    box.choose(internet_allowed=True)
    entry = CATALOGUE["gpt-oss-20b"]
    with pytest.raises(LargerThanMemory, match=r"13\.8 GB"):
        box.ask("gpt-oss-20b", hub_order(entry, entry.variants[0]))
    anyway = stick(tiny_gguf.name, even_if_too_large=True)
    assert box.get("tiny", anyway).state is GetState.DONE


def test_a_get_can_be_cancelled_before_its_turn(box: ModelBox, tiny_gguf: Path) -> None:
    box.put_on_stick(tiny_gguf)
    get = box.ask("tiny", stick(tiny_gguf.name))
    ask_cancel(box.activity, get.id)
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.CANCELLED
    assert [each.name for each in list_gets(box.activity)] == ["tiny"]
    assert box.get("tiny", stick(tiny_gguf.name)).state is GetState.DONE, "the name is free again"


def test_a_quota(box: ModelBox, tiny_gguf: Path) -> None:
    size = tiny_gguf.stat().st_size
    box.choose(quota_bytes=size + 1000)
    box.put_on_stick(tiny_gguf)
    assert box.get("one", stick(tiny_gguf.name)).state is GetState.DONE
    two = box.get("two", stick(tiny_gguf.name))
    assert (two.state, two.code) == (GetState.REFUSED, "model_store_full")
    with pytest.raises(StoreFull):
        box.ask("three", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=size),)))


def test_an_openvino_folder_from_a_stick_keeps_its_names(box: ModelBox, tmp_path: Path) -> None:
    write_ir(box.stick / "small-ir")
    get = box.get("ir", stick("small-ir"))
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence
    bundle = box.model("ir").bundle
    folder = engine_path(box.settings.state_dir, bundle)
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.path for file in bundle.files)
    (box.stick / "small-ir" / "openvino_tokenizer.xml").unlink()
    refused = box.get("no-tokenizer", stick("small-ir"))
    assert (refused.code, "no tokenizer" in refused.sentence) == ("model_file_unusable", True)


def as_export_for_vision(folder: Path) -> None:
    """The parts of an export for VLMPipeline: a language model, and what makes tokens of pictures."""
    write_ir(folder)
    for part in ("language", "text_embeddings", "vision_embeddings"):
        for suffix in ("xml", "bin"):
            shutil.copy(folder / f"openvino_model.{suffix}", folder / f"openvino_{part}_model.{suffix}")
    for suffix in ("xml", "bin"):
        (folder / f"openvino_model.{suffix}").unlink()


def test_an_openvino_model_that_sees_is_refused_before_a_byte_of_it_comes(
    box: ModelBox, hub: HubServer
) -> None:
    assert hub.elsewhere
    as_export_for_vision(box.stick / "sees")
    names = sorted(path.name for path in (box.stick / "sees").iterdir())
    get = box.get("sees", stick("sees"))
    assert (get.state, get.code, "pictures" in get.sentence) == (
        GetState.REFUSED,
        "model_file_unusable",
        True,
    )
    with pytest.raises(ModelFileUnusable, match="pictures"):
        box.ask("sees", UploadOrder(files=tuple(UploadFile(path=name, size_bytes=9) for name in names)))
    box.choose(internet_allowed=True, hub_url=hub.url)
    hub.content.files |= {name: b"x" for name in names}
    get = box.get("sees", HubOrder(repository=REPOSITORY, files=("openvino_*",)))
    assert (get.state, "pictures" in get.sentence) == (GetState.REFUSED, True)
    assert not hub.asked("GET", f"/{REPOSITORY}") and not hub.elsewhere.seen
    assert box.incoming() == []


def test_an_entry_of_ones_own_is_used_at_once(box: ModelBox, tiny_gguf: Path) -> None:
    own = box.settings.state_dir / "catalogue"
    own.mkdir()
    ends = (
        'family = "own"\nlifecycle = { deprecated = 2026-01-01, migrate_to = "qwen3-8b", because = "Old." }'
    )
    (own / "own.toml").write_text(OWN.replace('family = "own"', ends))
    assert read_entry(own / "own.toml").lifecycle.migrate_to == "qwen3-8b"
    box.put_on_stick(tiny_gguf)
    ask_get(
        box.settings, box.db, box.activity, "own", stick(tiny_gguf.name, entry="own"), by="ana", at=box.at
    )
    box.turn()
    model = box.model("own")
    assert (model.licence, model.successor) == ("MIT", "qwen3-8b")
    assert model.deprecated_at == 1767225600.0


def test_a_file_that_is_no_model_is_refused_by_its_name(box: ModelBox) -> None:
    box.stick.mkdir(parents=True)
    (box.stick / "notes.gguf").write_text("these are notes, no model, whatever the name says")
    assert box.get("notes", stick("notes.gguf")).code == ModelFileUnusable.code
    with pytest.raises(NothingCarried), medium(box.settings, box.host, "stick") as folder:
        files_of(folder, "absent.gguf")
