"""Which server answers, told from recorded answers: each is built from the server's public documentation."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.engines.adopted.asking import Reply
from appliance.engines.adopted.recognising import ASKED_PATHS, Found, NotOne, parameters_of, recognise
from appliance.engines.adopted.servers import SERVERS, USUAL_PORTS, Ability, ServerKind

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


def replies(recorded: dict[str, Any]) -> dict[str, Reply]:
    return {
        path: Reply(
            one["status"],
            one["headers"],
            one["body"].encode() if isinstance(one["body"], str) else json.dumps(one["body"]).encode(),
        )
        for path, one in recorded["answers"].items()
    }


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_server_is_recognised_with_what_it_claims(file: Path) -> None:
    recorded = json.loads(file.read_text())
    assert recorded["source"] and set(recorded["answers"]) <= set(ASKED_PATHS)
    found = recognise(replies(recorded))
    assert found.reason
    if recorded["kind"] is None:
        assert isinstance(found, NotOne)
        return
    assert isinstance(found, Found) and found.kind == recorded["kind"]
    assert found.needs_key == recorded.get("needs_key", False)
    assert found.slots == recorded.get("slots", 0)
    assert [claim.id for claim in found.models] == [model["id"] for model in recorded["models"]]
    for claim, expected in zip(found.models, recorded["models"], strict=True):
        assert {name: getattr(claim, name) for name in expected} == expected


def test_every_kind_that_has_a_port_is_recorded() -> None:
    kinds = {json.loads(file.read_text())["kind"] for file in RECORDED}
    assert {kind.value for kind in ServerKind} <= kinds


@pytest.mark.parametrize("missing", ["/props", "/v1/models"])
def test_one_sign_is_enough(missing: str) -> None:
    recorded = json.loads((Path(__file__).parent / "recorded" / "llama-server.json").read_text())
    del recorded["answers"][missing]
    found = recognise(replies(recorded))
    assert isinstance(found, Found) and found.kind is ServerKind.LLAMA_SERVER


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", '"x"', '{"data": 3}', '{"data": [1, null]}', '{"data": [{"id": 7}]}', "{", "\xff" * 9],
)
def test_what_is_no_list_of_models_claims_nothing(body: str) -> None:
    answer = {"/v1/models": Reply(200, {}, body.encode("latin-1"))}
    assert isinstance(recognise(answer), NotOne)


def test_a_name_that_could_trick_a_terminal_is_not_taken_over() -> None:
    named = {"object": "list", "data": [{"id": "a\x1b[2Jb"}, {"id": "x" * 300}, {"id": "good"}]}
    found = recognise({"/v1/models": Reply(200, {}, json.dumps(named).encode())})
    assert isinstance(found, Found) and [claim.id for claim in found.models] == ["good"]


@pytest.mark.parametrize(
    ("text", "number"), [("8.0B", 8e9), ("137M", 137e6), ("1.5 b", 1.5e9), ("", 0), ("many", 0)]
)
def test_a_size_in_words_is_a_number(text: str, number: float) -> None:
    assert parameters_of(text) == number


def test_the_table_of_servers_names_its_sources_and_the_usual_ports() -> None:
    assert {8000, 8080, 11434, 1234, 3000, 13305} <= set(USUAL_PORTS)
    for server in SERVERS.values():
        assert server.source.startswith("https://") and server.refuses <= set(Ability)
