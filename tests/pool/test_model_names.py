"""What requests call a model: aliases that an admin moves, and models whose time is running out."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from appliance.clock import now
from appliance.engines.options import Kind
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.naming import Ending, ModelNames, RetiredModel, load_names
from appliance.pool.ask import for_model, read_ask
from appliance.pool.kinds import Endpoint
from appliance.storage import open_cellule, transaction
from tests.pool.conftest import Box
from tests.waiting import wait_until

DAY = 24 * 3600.0
NAMES = ModelNames(
    {"default": "new", "old-alias": "old"},
    {"old": Ending(1_688_169_599.0, 1_700_000_000.0, "new"), "gone": Ending(None, 5.0, "new")},
)


def test_an_alias_is_its_model_and_any_other_name_itself() -> None:
    assert NAMES.resolve("default", 0).model == "new"
    assert NAMES.resolve("something", 0).model == "something"
    assert NAMES.resolve("new", 2e9).headers == []


def test_a_deprecated_model_warns_as_the_standards_say() -> None:
    """RFC 9745, RFC 8594, RFC 5829."""
    assert NAMES.resolve("old", 1_688_169_598.0).headers == []
    assert NAMES.resolve("old-alias", 1_688_169_599.0).headers == [
        (b"deprecation", b"@1688169599"),
        (b"sunset", b"Tue, 14 Nov 2023 22:13:20 GMT"),
        (b"link", b'</v1/models/new>; rel="successor-version"'),
    ]


def test_a_retired_model_is_refused_with_its_successor() -> None:
    with pytest.raises(RetiredModel, match="gone is retired"):
        NAMES.resolve("gone", 5.0)


def test_only_the_model_of_the_body_is_replaced() -> None:
    content = rb'"\"model\": \"default\" \u00e9"'
    body = b'{"model": "default", "messages": [{"role": "user", "content": %s}]}' % content
    ask = for_model(read_ask(Endpoint.CHAT, body), "new")
    told, before = orjson.loads(ask.body), orjson.loads(body)
    assert (ask.model, told["model"], told["messages"]) == ("new", "new", before["messages"])
    streamed = for_model(
        read_ask(Endpoint.CHAT, body.replace(b'", "mess', b'", "stream": true, "mess')), "new"
    )
    assert streamed.usage_added and b"include_usage" in streamed.body


def move(box: Box, alias: str, model: str) -> None:
    with box.cellule() as db, transaction(db):
        db.execute("INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?, NULL)", [alias, model, now()])


def answered_by(box: Box, name: str) -> str:
    response = box.chat(name)
    return response.headers["x-cellule-model"] if response.status_code == 200 else response.text


def test_requests_follow_an_alias_that_is_moved(box: Box) -> None:
    first, second = box.engine("first"), box.engine("second")
    move(box, "code", "first")
    wait_until(lambda: answered_by(box, "code") == "first", within_seconds=3, what="the alias is known")
    assert first.asked[-1].document["model"] == "first"
    ledger = box.ledger(1, "model = 'first'")
    assert ledger[0]["model"] == "first", "the ledger names what answered"
    move(box, "code", "second")
    wait_until(lambda: answered_by(box, "code") == "second", within_seconds=3, what="it moved")
    assert second.asked[-1].document["model"] == "second"
    listed = {each["id"]: each for each in box.openai().models.list().model_dump()["data"]}
    assert listed["code"]["alias_of"] == "second" and "alias_of" not in listed["second"]
    assert box.openai().models.retrieve("code").id == "code"

    move(box, "code", "third")
    wait_until(
        lambda: "third" in answered_by(box, "code"), within_seconds=3, what="it stands for nothing here"
    )
    refused = box.chat("code").json()["error"]
    assert refused["message"].startswith(
        "There is no model 'third' here, which 'code' stands for. The models"
    )


def test_the_default_is_the_model_that_ships_until_an_admin_says_otherwise(tmp_path: Path) -> None:
    db = open_cellule(tmp_path)
    assert load_names(db).resolve("default", 0).model == DEMO_MODEL_NAME
    db.execute("INSERT INTO model_aliases VALUES ('default', 'other', 0, NULL)")
    assert load_names(db).resolve("default", 0).model == "other"


def test_what_a_held_model_is_for_is_read_from_its_facts(tmp_path: Path) -> None:
    db = open_cellule(tmp_path)
    insert = (
        """INSERT INTO models (name, digest, bundle, facts, source, added_at) VALUES (?, ?, '{}', ?, '', 0)"""
    )
    for name, facts in {"ear": '{"kind": "transcription"}', "odd": '{"kind": "?"}', "old": "{}"}.items():
        db.execute(insert, [name, name, facts])
    assert load_names(db).held == {"ear": Kind.TRANSCRIPTION, "odd": Kind.TEXT, "old": Kind.TEXT}


def test_a_model_near_its_end(box: Box) -> None:
    box.engine("ageing")
    insert = """INSERT INTO models
        (name, digest, bundle, facts, entry, source, added_at, deprecated_at, retired_at, successor)
        VALUES (?, ?, '{}', '{}', ?, '', 0, ?, ?, ?)"""
    with box.cellule() as db, transaction(db):
        db.execute(insert, ["ageing", "a" * 64, "old-entry", now() - DAY, now() + DAY, "new-entry"])
        db.execute(insert, ["fresh", "b" * 64, "new-entry", None, None, ""])

    def warned() -> Callable[[str], str | None] | None:
        response = box.chat("ageing")
        return response.headers.get if response.status_code == 200 and "sunset" in response.headers else None

    header = wait_until(warned, within_seconds=3, what="the pool knows the dates")
    assert (header("deprecation") or "").startswith("@")
    sunset = datetime.strptime(header("sunset") or "", "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(sunset.timestamp() - now() - DAY) < 60
    assert header("link") == '</v1/models/fresh>; rel="successor-version"', (
        "the box's own model of that entry"
    )

    with box.cellule() as db, transaction(db):
        db.execute("UPDATE models SET retired_at = ? WHERE name = 'ageing'", [now() - 1])
    wait_until(lambda: box.chat("ageing").status_code == 410, within_seconds=3, what="it is retired")
    error = box.chat("ageing").json()["error"]
    assert error["code"] == "model_retired" and "fresh" in error["message"]
    assert "ageing" not in [each.id for each in box.openai().models.list()]
