"""The ways that recorded machines can compute by, and where a model goes there."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.hardware import MachineFacts, read_profiles, recognise
from appliance.hardware.places import SHIPPED
from appliance.placement.contract import ModelNeed, NodeFacts, Placed
from appliance.placement.planning import plan
from appliance.placement.ways import ways_of
from tests.placement.fleets import demand, model, node

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"
PROFILES, _ = read_profiles([SHIPPED])


def recorded(machine: str, **changed: object) -> NodeFacts:
    facts = MachineFacts.model_validate_json((MACHINES / f"{machine}.json").read_text())
    facts = facts.model_copy(update=changed)
    return node(machine, *ways_of(facts, recognise(facts, PROFILES)))


def placed_on(where: NodeFacts, what: ModelNeed) -> Placed:
    [placed] = plan([where], [what], demand=[demand(what.name)]).on(where.id)
    return placed


def of_form(name: str, billions: float, form: str) -> ModelNeed:
    need = model(name, billions)
    return replace(need, files=(replace(need.files[0], format=form),))


@pytest.mark.parametrize(
    ("machine", "server", "own"),
    [
        ("a100-80gb-server", "adopted on vllm", "llama.cpp on cuda"),
        ("eight-h100-server", "adopted on vllm", "llama.cpp on cuda"),
        ("eight-b200-server", "adopted on vllm", "llama.cpp on cuda"),
        ("mac-studio-m2-ultra", "adopted on mlx", "llama.cpp on metal"),
    ],
)
def test_a_server_of_somebody_else_takes_no_device_from_our_own_engine(
    machine: str, server: str, own: str
) -> None:
    where = recorded(machine)
    assert {server, own} <= {way.name for way in where.ways}
    assert placed_on(where, of_form("qwen3-8b", 8, "gguf:Q4_K_M")).way.name == own
