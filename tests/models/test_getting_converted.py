"""Safetensors from a stick or an upload become an OpenVINO model in the store, or nothing of them is left."""

import json
import shutil
import struct
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.models import (
    CarriedOrder,
    GetState,
    ModelFileUnusable,
    UploadFile,
    UploadOrder,
    ask_cancel,
    carried_models,
    medium,
    read_get,
)
from appliance.models import fitting as fitting_module
from appliance.models.bundle import ModelFormat
from appliance.models.converting import ConversionTooLarge, NoConverter
from appliance.models.getting import stopping
from appliance.models.turns import turns
from tests.models.conftest import ModelBox
from tests.models.tiny import converter, tiny_source
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)  # the first run sets up the converter
ORDER = CarriedOrder(origin="stick", path="encoder")


@pytest.fixture
def loaded(box: ModelBox) -> ModelBox:
    """With a converter, and a folder of safetensors on its stick."""
    box.stick.mkdir(parents=True)
    shutil.copytree(tiny_source(Kind.EMBEDDINGS), box.stick / "encoder")
    return replace(box, settings=box.settings.model_copy(update={"converter": converter()}))


def test_a_folder_of_safetensors_becomes_a_model(loaded: ModelBox) -> None:
    with medium(loaded.settings, loaded.host, "stick") as folder:
        [found] = carried_models(folder)
    assert (found.path, found.must_convert) == ("encoder", True)
    get = loaded.get("encoder", ORDER)
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence
    model = loaded.model("encoder")
    assert (model.bundle.format, model.kind) == (ModelFormat.OPENVINO, Kind.EMBEDDINGS)
    assert not any(file.path.endswith(".safetensors") for file in model.bundle.files)
    assert loaded.incoming() == []


def test_a_folder_inside_a_model_is_not_a_model(box: ModelBox) -> None:
    box.stick.mkdir(parents=True)
    shutil.copytree(tiny_source(Kind.IMAGES), box.stick / "painter")
    with medium(box.settings, box.host, "stick") as folder:
        assert [each.path for each in carried_models(folder)] == ["painter"]


def test_without_a_converter_it_is_said_before_anything_is_sent(box: ModelBox) -> None:
    files = (UploadFile(path="model.safetensors", size_bytes=9), UploadFile(path="config.json", size_bytes=9))
    with pytest.raises(NoConverter, match="another computer"):
        box.ask("own", UploadOrder(files=files))
    with pytest.raises(ModelFileUnusable, match="no model among"):
        box.ask("own", UploadOrder(files=files[1:]))
    box.stick.mkdir(parents=True)
    shutil.copytree(tiny_source(Kind.EMBEDDINGS), box.stick / "encoder")
    assert box.get("encoder", ORDER).code == "no_converter"
    assert box.incoming() == []


def test_what_it_becomes_must_fit_and_not_what_it_was(
    loaded: ModelBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny encoder's weights are floats of 32 bits; as int8 they take about a quarter."""
    size = (loaded.stick / "encoder" / "model.safetensors").stat().st_size
    monkeypatch.setattr(fitting_module, "_own_room", lambda settings: size // 8)
    get = loaded.get("encoder", ORDER)
    assert (get.state, get.code) == (GetState.REFUSED, "model_larger_than_memory")
    assert "Converted to int8" in get.sentence
    monkeypatch.setattr(fitting_module, "_own_room", lambda settings: size // 2)
    loaded.choose(quota_bytes=size * 2 // 3)
    assert loaded.get("encoder", ORDER).state is GetState.DONE


@pytest.mark.root
def test_room_is_asked_for_the_conversion_before_a_byte_comes(
    small_disk: ModelBox,
) -> None:
    box = replace(small_disk, settings=small_disk.settings.model_copy(update={"converter": converter()}))
    box.stick.mkdir(parents=True)
    shutil.copytree(tiny_source(Kind.EMBEDDINGS), box.stick / "encoder")
    get = box.get("encoder", ORDER)
    assert (get.state, get.code) == (GetState.REFUSED, "model_store_full")
    assert read_get(box.activity, get.id).done_bytes == 0 and box.incoming() == []


def test_what_no_memory_here_could_ever_convert_is_refused_at_once(loaded: ModelBox) -> None:
    """Neither sent for hours first, nor begun again and again."""
    size_bytes = 2**40
    files = (UploadFile(path="model.safetensors", size_bytes=size_bytes),)
    with pytest.raises(ConversionTooLarge, match=r"1,100 GB of safetensors needs 2,200 GB .* in all"):
        loaded.ask("own", UploadOrder(files=files))
    with (loaded.stick / "encoder" / "model.safetensors").open("r+b") as weights:
        header = json.dumps({"w": {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}})
        weights.write(struct.pack("<Q", len(header)) + header.encode())
        weights.truncate(8 + len(header) + size_bytes)
    get = loaded.get("encoder", ORDER.model_copy(update={"even_if_too_large": True}))
    assert (get.state, get.code, get.done_bytes) == (GetState.REFUSED, "conversion_larger_than_memory", 0)


def test_a_flipped_byte_is_found_before_the_conversion(loaded: ModelBox) -> None:
    weights = loaded.stick / "encoder" / "model.safetensors"
    (loaded.stick / "encoder" / "SHA256SUMS").write_text(f"{'0' * 64}  {weights.name}\n")
    assert loaded.get("encoder", ORDER).code == "model_damaged"


def test_what_can_not_be_converted_is_refused_with_the_reason(loaded: ModelBox) -> None:
    (loaded.stick / "encoder" / "config.json").write_text('{"auto_map": {"AutoModel": "evil.py"}}')
    get = loaded.get("encoder", ORDER)
    assert (get.state, get.code) == (GetState.REFUSED, "model_not_convertible")
    assert "own program code" in get.sentence and loaded.incoming() == []


@pytest.mark.parametrize("ends", ["an admin", "the core"])
def test_a_conversion_under_way_can_be_ended(loaded: ModelBox, ends: str) -> None:
    asked = loaded.ask("encoder", ORDER)
    working = threading.Thread(target=loaded.turn_elsewhere)
    working.start()

    def converting() -> bool:
        get = read_get(loaded.activity, asked.id)
        return get.state is GetState.CONVERTING and bool(get.sentence)

    wait_until(converting, within_seconds=60, what="the conversion tells how far it is")
    if ends == "an admin":
        ask_cancel(loaded.activity, asked.id)
    else:
        stopping.set()
    working.join(30)
    stopping.clear()
    assert not working.is_alive()
    if ends == "an admin":
        assert read_get(loaded.activity, asked.id).state is GetState.CANCELLED and loaded.incoming() == []
    else:
        loaded.turn()
        assert read_get(loaded.activity, asked.id).state is GetState.DONE


def test_one_model_is_converted_at_a_time(loaded: ModelBox) -> None:
    """Whoever waits for the converter keeps what came, and keeps nobody else from the box."""
    with turns.converter() as is_ours:
        assert is_ours
        get = loaded.get("encoder", ORDER)
        assert (get.state, get.sentence) == (GetState.WAITING, "")
        shutil.rmtree(loaded.stick)
        assert loaded.turn() == ""
    loaded.turn()
    assert read_get(loaded.activity, get.id).state is GetState.DONE


def test_a_core_that_died_at_it_leaves_no_rest(loaded: ModelBox, tmp_path: Path) -> None:
    asked = loaded.ask("encoder", ORDER)
    folder = loaded.settings.state_dir / "models" / "incoming" / asked.incoming_name
    (folder / ".converted").mkdir(parents=True)
    (folder / ".converted" / "openvino_model.xml").write_text("half")
    loaded.turn()
    assert read_get(loaded.activity, asked.id).state is GetState.DONE
