"""A core that is killed (kill -9, a power cut) in the last steps of a get: nothing is lost."""

from pathlib import Path

import pytest

from appliance.models import GetState, HubOrder, UploadFile, UploadOrder, getting, read_get, receive_chunk
from appliance.models.following import follow_models
from tests.models.conftest import ModelBox
from tests.models.hub_server import HubServer
from tests.models.test_getting import stick
from tests.models.test_uploading import Killed


@pytest.fixture(params=["upload", "stick"])
def asked(box: ModelBox, tiny_gguf: Path, request: pytest.FixtureRequest) -> int:
    """Number of a get for which the core has nothing to wait for."""
    if request.param == "stick":
        box.put_on_stick(tiny_gguf)
        return box.ask("tiny", stick(tiny_gguf.name)).id
    data = tiny_gguf.read_bytes()
    get = box.ask("tiny", UploadOrder(files=(UploadFile(path="t.gguf", size_bytes=len(data)),)))
    receive_chunk(box.settings.state_dir, box.activity, get.id, path="t.gguf", offset=0, data=data)
    return get.id


def killed_at(box: ModelBox, step: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as until_then:
        until_then.setattr(getting, step, killed)
        with pytest.raises(Killed):
            box.turn()
    follow_models(box.settings, box.host)  # the core comes up again, and clears away what has no record


@pytest.mark.parametrize("step", ["add_held", "end_get"])
def test_it_comes_after_all(box: ModelBox, asked: int, step: str) -> None:
    killed_at(box, step)
    box.turn()
    get = read_get(box.activity, asked)
    assert get.state is GetState.DONE, get.sentence
    assert box.incoming() == [] and box.model("tiny").name == "tiny"
    file = box.settings.state_dir / "models" / "blobs" / box.model("tiny").digest
    assert (file.stat().st_nlink, file.stat().st_mode & 0o777) == (2, 0o444)


def test_a_download_is_not_begun_again(box: ModelBox, hub: HubServer, order: HubOrder) -> None:
    box.choose(internet_allowed=True, hub_url=hub.url)
    get = box.ask("tiny", order)
    killed_at(box, "end_get")
    box.choose(internet_allowed=False)  # any word to the hub would be refused now
    box.turn()
    assert read_get(box.activity, get.id).state is GetState.DONE
