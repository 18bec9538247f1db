"""What an admin does with the models of the box: aliases, removing, checking, seeing what each needs."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from appliance.clock import now
from appliance.engines.options import Kind
from appliance.host import MachinePlan, Protocol
from appliance.models import (
    AliasRefused,
    CarriedOrder,
    GetState,
    LifecycleState,
    ModelDamaged,
    ModelInUse,
    ModelShips,
    ModelUnknown,
    NameRefused,
    UploadFile,
    UploadOrder,
    ask_cancel,
    asking,
    held_models,
    list_aliases,
    model_states,
    move_alias,
    remove_alias,
    remove_model,
    serving_nodes,
    verify_model,
)
from appliance.models.demo import DEMO_MODEL_NAME, verify_demo_model
from appliance.models.following import follow_models
from appliance.models.gets import list_gets
from appliance.models.held import add_held
from appliance.models.layout import bundle_folder, engine_path
from appliance.models.naming import load_names
from appliance.models.uses import uses_of
from appliance.people import audit_lines
from appliance.storage import open_activity, open_cellule
from tests.models.conftest import ModelBox
from tests.models.test_catalogue import OWN


@pytest.fixture
def tiny(box: ModelBox, tiny_gguf: Path) -> ModelBox:
    box.put_on_stick(tiny_gguf)
    assert box.get("tiny", CarriedOrder(origin="stick", path=tiny_gguf.name)).state is GetState.DONE
    return box


def move(box: ModelBox, alias: str, model: str) -> None:
    move_alias(box.db, box.activity, alias, model, by="ana", at=box.at, address="10.0.0.9")


def remove(box: ModelBox, name: str) -> None:
    remove_model(box.settings, box.db, box.activity, name, by="ana")


def test_an_alias_does_not_take_the_name_of_a_model_that_is_on_its_way(tiny: ModelBox) -> None:
    get = tiny.ask("Large-one", UploadOrder(files=(UploadFile(path="a.gguf", size_bytes=100),)))
    with pytest.raises(AliasRefused, match="on its way"):
        move(tiny, "large-one", "tiny")
    ask_cancel(tiny.activity, get.id)
    tiny.turn()
    move(tiny, "large-one", "tiny")


def test_an_alias_never_comes_to_stand_for_a_model_that_is_just_removed(
    tiny: ModelBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two admins at once: one removes the model that the other moves an alias to."""
    said = list[type[Exception]]()

    def other_admin() -> None:
        with open_cellule(tiny.settings.state_dir) as db, open_activity(tiny.settings.state_dir) as activity:
            try:
                move_alias(db, activity, "code", "tiny", by="ben", at=tiny.at)
            except ModelUnknown as refusal:
                said.append(type(refusal))

    other = threading.Thread(target=other_admin)

    def then_the_other(*given: Any) -> list[str]:
        found = uses_of(*given)
        other.start()
        other.join(0.5)  # it has to wait for what is done with the answer; without that it is done by then
        return found

    monkeypatch.setattr(asking, "uses_of", then_the_other)
    remove(tiny, "tiny")
    other.join(10)
    assert said == [ModelUnknown]
    assert {alias.model for alias in list_aliases(tiny.db)} <= {"", DEMO_MODEL_NAME}


def test_the_model_that_ships_is_there_and_stays(box: ModelBox) -> None:
    demo = box.model(DEMO_MODEL_NAME)
    assert demo.ships and demo.digest == verify_demo_model()
    with pytest.raises(ModelShips):
        remove(box, DEMO_MODEL_NAME)
    verify_model(box.settings, box.db, DEMO_MODEL_NAME)


def test_aliases_are_moved_and_noted(tiny: ModelBox) -> None:
    assert [(each.alias, each.model) for each in list_aliases(tiny.db)] == [
        ("default", DEMO_MODEL_NAME),
        ("code", ""),
        ("large", ""),
    ]
    move(tiny, "default", "tiny")
    move(tiny, "fast", "tiny")
    move(tiny, "fast", DEMO_MODEL_NAME)
    assert {each.alias: each.model for each in list_aliases(tiny.db)} == {
        "default": "tiny",
        "code": "",
        "large": "",
        "fast": DEMO_MODEL_NAME,
    }
    newest = audit_lines(tiny.activity)[0]
    assert (newest.event, newest.actor, newest.address) == ("admin:alias:moved", "ana", "10.0.0.9")
    assert (newest.subject, newest.detail) == ("fast", f"from tiny to {DEMO_MODEL_NAME}")
    remove_alias(tiny.db, tiny.activity, "fast", by="ana")
    remove_alias(tiny.db, tiny.activity, "default", by="ana")
    assert load_names(tiny.db).resolve("default", 0).model == DEMO_MODEL_NAME
    assert load_names(tiny.db).resolve("fast", 0).model == "fast"


def test_an_alias_is_no_models_name_and_stands_for_a_model(tiny: ModelBox) -> None:
    for alias, model, refusal in (
        ("tiny", DEMO_MODEL_NAME, AliasRefused),
        ("Tiny", DEMO_MODEL_NAME, AliasRefused),
        ("code", "nothing", ModelUnknown),
        ("code", "large", ModelUnknown),
        ("../x", "tiny", NameRefused),
    ):
        with pytest.raises(refusal):
            move(tiny, alias, model)
    # a server that a station already ran has models that no file of ours is
    move_alias(tiny.db, tiny.activity, "code", "vllm-model", by="ana", at=0, served={"vllm-model"})


def test_the_names_that_chats_ask_for_stand_for_a_model_that_chats(tiny: ModelBox) -> None:
    chats = tiny.model("tiny")
    vectors = chats.facts.model_copy(update={"kind": Kind.EMBEDDINGS})
    add_held(tiny.db, replace(chats, name="vectors", facts=vectors))
    for alias in ("default", "code", "large"):
        with pytest.raises(AliasRefused, match="stands for a model that chats, and vectors does not"):
            move(tiny, alias, "vectors")
    move(tiny, "search", "vectors")


def test_what_is_in_use_stays(tiny: ModelBox, tiny_gguf: Path) -> None:
    digest = tiny.model("tiny").digest
    move(tiny, "code", "tiny")
    report = orjson.dumps({"engines": [{"model": "tiny"}]})
    tiny.activity.execute("INSERT INTO node_reports VALUES ('box', ?, ?)", [now(), report])
    with pytest.raises(ModelInUse, match="the alias code, an engine on box"):
        remove(tiny, "tiny")
    assert serving_nodes(tiny.db, tiny.activity) == {"tiny": ["box"]}
    tiny.activity.execute("UPDATE node_reports SET at = at - 3600")
    with pytest.raises(ModelInUse, match="the alias code"):
        remove(tiny, "tiny")
    remove_alias(tiny.db, tiny.activity, "code", by="ana")
    tiny.settings.engine_socket("tiny").touch()
    with pytest.raises(ModelInUse, match="an engine on the box"):
        remove(tiny, "tiny")
    tiny.settings.engine_socket("tiny").unlink()
    remove(tiny, "tiny")
    assert not bundle_folder(tiny.settings.state_dir, digest).exists()
    assert [model.name for model in held_models(tiny.db)] == [DEMO_MODEL_NAME]
    with pytest.raises(ModelUnknown):
        remove(tiny, "tiny")
    assert tiny.get("tiny", CarriedOrder(origin="stick", path=tiny_gguf.name)).state is GetState.DONE


def test_two_names_of_one_file(tiny: ModelBox, tiny_gguf: Path) -> None:
    again = tiny.get("again", CarriedOrder(origin="stick", path=tiny_gguf.name))
    assert again.state is GetState.DONE
    remove(tiny, "tiny")
    verify_model(tiny.settings, tiny.db, "again")
    remove(tiny, "again")
    assert not list((tiny.settings.state_dir / "models" / "blobs").iterdir())


def test_the_same_file_under_another_file_name(tiny: ModelBox, tiny_gguf: Path) -> None:
    renamed = tiny_gguf.read_bytes()
    (tiny.stick / "renamed.gguf").write_bytes(renamed)
    assert tiny.get("again", CarriedOrder(origin="stick", path="renamed.gguf")).state is GetState.DONE
    for name in ("tiny", "again"):
        verify_model(tiny.settings, tiny.db, name)
        opened = engine_path(tiny.settings.state_dir, tiny.model(name).bundle)
        assert opened.read_bytes() == renamed, f"what the engine of {name} is started with"


def test_a_model_is_checked_again_on_demand(tiny: ModelBox, tiny_gguf: Path) -> None:
    verify_model(tiny.settings, tiny.db, "tiny")
    file = bundle_folder(tiny.settings.state_dir, tiny.model("tiny").digest) / tiny_gguf.name
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    with pytest.raises(ModelDamaged):
        verify_model(tiny.settings, tiny.db, "tiny")


def test_the_list_that_a_page_shows(tiny: ModelBox) -> None:
    move(tiny, "code", "tiny")
    tiny.db.execute("UPDATE models SET deprecated_at = 1000, retired_at = 2000 WHERE name = 'tiny'")
    for at, state in ((999, "current"), (1000, "deprecated"), (2000, "retired")):
        shown = model_states(
            held_models(tiny.db), list_aliases(tiny.db), serving_nodes(tiny.db, tiny.activity), at=at
        )
        assert [each.model.name for each in shown] == [DEMO_MODEL_NAME, "tiny"]
        assert shown[1].lifecycle is LifecycleState(state)
    demo, tiny_state = shown
    assert (demo.aliases, tiny_state.aliases) == (("default",), ("code",))
    assert not demo.is_removable and not tiny_state.is_removable
    assert tiny_state.need.total_bytes > tiny.model("tiny").facts.weights_bytes


def test_the_core_keeps_dates_way_and_store_as_they_should_be(tiny: ModelBox) -> None:
    lost = tiny.settings.state_dir / "models" / ("ab" * 32)
    lost.mkdir()
    tiny.db.execute("UPDATE models SET entry = 'own'")
    own = tiny.settings.state_dir / "catalogue"
    own.mkdir()
    ends = (
        'family = "own"\nlifecycle = { deprecated = 2026-01-01, migrate_to = "qwen3-8b", because = "Old." }'
    )
    (own / "own.toml").write_text(OWN.replace('family = "own"', ends))
    said = follow_models(tiny.settings, tiny.host)
    assert said == "dates changed of tiny; 1 models without a record removed"
    assert tiny.model("tiny").successor == "qwen3-8b" and not lost.exists()
    assert follow_models(tiny.settings, tiny.host) == "", "safe to repeat"
    verify_model(tiny.settings, tiny.db, "tiny")
    assert len(list_gets(tiny.activity)) == 1
    tiny.db.execute(
        "UPDATE models SET digest = 'x', bundle = replace(bundle, ?, ?)",
        [tiny.model("tiny").digest, "c" * 64],
    )
    assert "the files of tiny are missing" in follow_models(tiny.settings, tiny.host), "as after a restore"


def test_the_way_to_the_hub_is_open_while_an_admin_allows_it(box: ModelBox) -> None:
    def outbound() -> list[tuple[str, int, str]]:
        plan: MachinePlan = box.host.machine_plan()
        return [(each.host, each.port, each.why) for each in plan.outbound if each.protocol is Protocol.TCP]

    follow_models(box.settings, box.host)
    assert outbound() == []
    box.choose(internet_allowed=True)
    follow_models(box.settings, box.host)
    assert outbound() == [("huggingface.co", 443, "models")]
    box.choose(internet_allowed=True, hub_url="http://mirror.example.com:8081/hub/")
    follow_models(box.settings, box.host)
    assert outbound() == [("mirror.example.com", 8081, "models")]
    box.choose(internet_allowed=False)
    follow_models(box.settings, box.host)
    assert outbound() == []


@pytest.mark.parametrize(
    "url",
    ["ftp://x.org", "https://u:p@x.org", "https://x.org/?a", "https://x.org:0", "x.org", "https://a b.org"],
)
def test_an_address_that_is_no_hub(box: ModelBox, url: str) -> None:
    with pytest.raises(ValueError, match="hub_url"):
        box.choose(hub_url=url)
