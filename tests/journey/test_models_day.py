"""A model's day on one machine: brought by upload, loaded because somebody asks, named by an alias, let go.

The whole product runs as `./build.sh run` starts it; the client is the official one, the model a real file of
random weights.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import NotFoundError
from sqlite_utils import Database

from appliance.clock import now
from appliance.models import (
    GetState,
    UploadFile,
    UploadOrder,
    ask_get,
    move_alias,
    read_get,
    receive_chunk,
    remove_alias,
)
from appliance.placement import Applying, choose_placement, unload_model
from appliance.settings import BOX_NODE, Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, random_model
from tests.conftest import free_port
from tests.supervisor.test_run import Run, running
from tests.waiting import wait_until


@pytest.fixture
def box(tmp_path: Path) -> Iterator[tuple[Run, Settings, Database, Database]]:
    state = tmp_path / "state"
    with running(free_port(), state) as run, open_cellule(state) as db, open_activity(state) as activity:
        yield run, Settings(state_dir=state), db, activity


def ask(run: Run, model: str) -> str:
    """The model that answered, as the answer's header names it."""
    answer = run.openai.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=4, timeout=60
    )
    assert answer.parse().usage
    return str(answer.headers["x-cellule-model"])


@pytest.mark.timeout(240)
def test_a_model_comes_is_asked_for_and_goes(
    box: tuple[Run, Settings, Database, Database], tmp_path: Path
) -> None:
    run, settings, db, activity = box
    with pytest.raises(NotFoundError):
        ask(run, "noise")
    # nothing is loaded before somebody asks
    choose_placement(db, applying=Applying.ASK, chosen_by=None)
    data = random_model(tmp_path, TINY).read_bytes()
    order = UploadOrder(files=(UploadFile(path="noise.gguf", size_bytes=len(data)),))
    get = ask_get(settings, db, activity, "noise", order, by=None, at=now())
    half = len(data) // 2
    for offset, part in ((0, data[:half]), (half, data[half:])):
        receive_chunk(settings.state_dir, activity, get.id, path="noise.gguf", offset=offset, data=part)
    wait_until(
        lambda: read_get(activity, get.id).state is GetState.DONE, within_seconds=30, what="the model is here"
    )
    wait_until(
        lambda: "noise" in {model.id for model in run.openai.models.list()},
        within_seconds=10,
        what="it is offered",
    )
    assert ask(run, "noise") == "noise"
    move_alias(db, activity, "code", "noise", by=None, at=now())
    wait_until(
        lambda: "code" in {model.id for model in run.openai.models.list()},
        within_seconds=10,
        what="the alias",
    )
    assert ask(run, "code") == "noise"
    remove_alias(db, activity, "code", by=None)
    unload_model(db, BOX_NODE, "noise", at=now(), chosen_by=None)
    wait_until(
        lambda: not settings.engine_socket("noise").exists(), within_seconds=20, what="the engine has ended"
    )
    assert ask(run, "noise") == "noise", "asked again it is loaded again"
    assert ask(run, "cellule-demo") == "cellule-demo"
