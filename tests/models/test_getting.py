"""From a stick, a NAS or an upload to a name in the API: verified, or refused and nothing left."""

from pathlib import Path

from appliance.models import CarriedOrder, GetState
from tests.models.conftest import ModelBox


def test_a_model_from_a_stick(box: ModelBox, tiny_gguf: Path) -> None:
    box.put_on_stick(tiny_gguf)
    get = box.get("tiny", CarriedOrder(origin="stick", path=tiny_gguf.name))
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence
    model = box.model("tiny")
    link = box.settings.state_dir / "models" / model.digest / tiny_gguf.name
    assert link.read_bytes() == tiny_gguf.read_bytes()
    assert link.stat().st_nlink == 2
    assert box.incoming() == []
