"""The demo model's file: the one that was released, small, and saying of itself what it is."""

import subprocess
import sys
from pathlib import Path

import gguf
import pytest

from appliance.models import demo
from appliance.models.demo.chat_format import CHAT_TEMPLATE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metadata() -> gguf.GGUFReader:
    return gguf.GGUFReader(demo.DEMO_MODEL_PATH)


def field(reader: gguf.GGUFReader, name: str) -> object:
    found = reader.get_field(name)
    assert found is not None, f"{name} is missing"
    return found.contents()


def test_it_is_the_released_file_and_under_8_mb() -> None:
    assert len(demo.verify_demo_model()) == 64
    assert demo.DEMO_MODEL_PATH.stat().st_size < 8_000_000


def test_a_changed_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = bytearray(demo.DEMO_MODEL_PATH.read_bytes())
    changed[-1] ^= 1
    (tmp_path / demo.DEMO_MODEL_PATH.name).write_bytes(changed)
    monkeypatch.setattr(demo, "DEMO_MODEL_PATH", tmp_path / demo.DEMO_MODEL_PATH.name)
    with pytest.raises(demo.DemoModelDamaged, match="not the file that was released"):
        demo.verify_demo_model()


@pytest.mark.parametrize("missing", ["DEMO_MODEL_PATH", "DEMO_MODEL_HASH_PATH"])
def test_a_missing_file_or_hash_is_noticed(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, missing, tmp_path / "absent")
    with pytest.raises(demo.DemoModelDamaged, match="cannot be checked"):
        demo.verify_demo_model()


def test_the_metadata_say_what_it_is(metadata: gguf.GGUFReader) -> None:
    assert field(metadata, "general.architecture") == "qwen3"
    assert str(field(metadata, "general.name")).startswith("Cellule demo")
    assert field(metadata, "general.license") == "Apache-2.0"
    assert "demonstration" in str(field(metadata, "general.description"))
    assert field(metadata, "general.languages") == ["en", "fr"]
    assert field(metadata, "qwen3.context_length") == 4096
    assert field(metadata, "tokenizer.chat_template") == CHAT_TEMPLATE
    assert "tools" not in CHAT_TEMPLATE


def test_the_product_needs_only_the_standard_library_for_it() -> None:
    """-S leaves every installed package out of reach."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "import appliance.models.demo as demo; print(demo.verify_demo_model())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == demo.verify_demo_model(), done.stderr
